"""A pool's story told by its repr."""

from kongdp.upstream.pool import Endpoint, Pool, Poolable, PoolLimits, Pools, TlsIdentity

HERE = Endpoint("127.0.0.1", 80)


class Connection(Poolable):
    """A connection that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def close(self) -> None:
        """Remember the closing."""
        self.closed = True


class Waiter:
    """Someone who waits."""

    def __init__(self) -> None:
        self.woken = 0

    def pool_has_room(self) -> None:
        """Remember the call."""
        self.woken += 1


def opened(pool: Pool) -> Connection:
    """A connection just dialled."""
    pool.dialling()
    return Connection()


def test_pool_when_connections_come_and_go() -> None:
    """The connection used last is taken first; what ended is forgotten, idle or busy."""
    pool = Pool(HERE, PoolLimits())
    assert pool.try_acquire() is None
    first, second = opened(pool), opened(pool)
    assert repr(pool) == "<Pool 127.0.0.1:80 2 open, 0 idle>"
    assert pool.release(first, 1.0)
    assert pool.release(second, 2.0)
    assert repr(pool) == "<Pool 127.0.0.1:80 2 open, 2 idle>"
    assert pool.try_acquire() is second
    pool.forget(second)
    pool.forget(first)
    assert repr(pool) == "<Pool 127.0.0.1:80 0 open, 0 idle>"


def test_release_when_a_limit_is_reached() -> None:
    """Beyond the idle limit, or after its last request, a connection is not kept."""
    pool = Pool(HERE, PoolLimits(idle_max=1, requests_max=3))
    first, second, worn = opened(pool), opened(pool), opened(pool)
    worn.requests = 3
    assert not pool.release(worn, 0.0)
    assert pool.release(first, 0.0)
    assert not pool.release(second, 0.0)


def test_release_when_keepalive_is_off() -> None:
    """upstream_keepalive_pool_size 0 keeps none."""
    pool = Pool(HERE, PoolLimits(idle_max=0))
    assert not pool.release(opened(pool), 0.0)


def test_take_expired_when_time_passes() -> None:
    """The oldest go first; 0 keeps them for ever."""
    pool = Pool(HERE, PoolLimits(idle_timeout_s=60.0))
    old, young = opened(pool), opened(pool)
    pool.release(old, 0.0)
    pool.release(young, 30.0)
    assert pool.take_expired(59.9) == []
    assert pool.take_expired(60.0) == [old]
    assert pool.count_idle == 1
    for_ever = Pool(HERE, PoolLimits(idle_timeout_s=0))
    for_ever.release(opened(for_ever), 0.0)
    assert for_ever.take_expired(1e9) == []


def test_waiting_when_the_endpoint_is_full() -> None:
    """With a limit of connections exchanges queue in order, up to the queue's bound, and are woken one by one."""
    pool = Pool(HERE, PoolLimits(connections_max=1, waiters_max=2))
    only = opened(pool)
    assert not pool.may_dial()
    first, second, third = Waiter(), Waiter(), Waiter()
    assert pool.try_wait(first)
    assert pool.try_wait(second)
    assert not pool.try_wait(third)
    pool.stop_waiting(first)
    pool.release(only, 0.0)
    assert (first.woken, second.woken) == (0, 1)
    assert pool.try_acquire() is only
    assert pool.try_wait(third)
    pool.forget(only)
    assert third.woken == 1
    assert pool.may_dial()


def test_pools_when_identities_differ() -> None:
    """Any attribute of the TLS identity makes another pool; equal ones share one."""
    pools = Pools(PoolLimits())
    base = TlsIdentity("a.test")
    others = [
        None,
        TlsIdentity("b.test"),
        TlsIdentity("a.test", verify=True),
        TlsIdentity("a.test", verify_depth=1),
        TlsIdentity("a.test", trust="PEM"),
        TlsIdentity("a.test", client_certificate="PEM"),
    ]
    held = [pools.get(Endpoint("127.0.0.1", 443, tls)) for tls in [base, *others]]
    assert len({id(pool) for pool in held}) == len(held)
    assert pools.get(Endpoint("127.0.0.1", 443, TlsIdentity("a.test"))) is held[0]
    assert len(pools) == len(held)
    del held
    assert len(pools) == 0


def test_sweep_when_connections_are_old() -> None:
    """The sweep closes what expired, everywhere."""
    pools = Pools(PoolLimits(idle_timeout_s=1.0))
    pool = pools.get(HERE)
    connection = opened(pool)
    pool.release(connection, 0.0)
    pools.sweep(2.0)
    assert connection.closed
