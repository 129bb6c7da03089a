"""Pages of accounts: sign in, sign up, sign out, new passwords.

In: a visit.  Out: pages and cookies; rules are `developers`' and `developer_passwords`'. A page says nothing of who has an account. Cold.
Source: walkthrough section 11.
"""

import math

from starlette.responses import RedirectResponse, Response

from kongdp.controlplane.catalogue_entries import CatalogueError
from kongdp.controlplane.passwords import SignInError
from kongdp.controlplane.portal.visit import SESSION, Visit, inside

FIELDS = ("name", "email", "password")


async def show_sign_in(visit: Visit) -> Response:
    """The form; whoever has signed in goes on."""
    wanted = inside(visit.request.query_params.get("next", "/"))
    if visit.developer is not None:
        return RedirectResponse(wanted, 303)
    return visit.page("sign_in.html", wanted=wanted, email="", problem="")


async def sign_in(visit: Visit) -> Response:
    """Check the password and open a session; one that was open in this browser is over."""
    email, wanted = visit.form.get("email", ""), inside(visit.form.get("next", "/"))
    developers = visit.rooms.developers
    try:
        found, secret = await visit.run(developers.sign_in, email, visit.form.get("password", ""), visit.address)
    except SignInError as error:
        status = 429 if error.retry_after_s else 401
        wait = f": try again in {math.ceil(error.retry_after_s)} s" if error.retry_after_s else ""
        return visit.page("sign_in.html", status, wanted=wanted, email=email[:256], problem=f"{error}{wait}")
    visit.developer = found
    await visit.run(developers.close_session, visit.session)
    response = RedirectResponse(wanted, 303)
    visit.set_cookie(response, SESSION, secret, "lax")
    return response


async def show_sign_up(visit: Visit) -> Response:
    """The form."""
    return visit.page("sign_up.html", values=dict.fromkeys(FIELDS, ""), errors={}, problem="")


async def sign_up(visit: Visit) -> Response:
    """Ask for an account."""
    values = {name: visit.form.get(name, "")[:1024] for name in FIELDS}
    try:
        await visit.run(
            visit.rooms.developers.sign_up, values["email"], values["name"], values["password"], visit.address
        )
    except SignInError as error:
        problem = f"too many sign-ups from here: try again in {math.ceil(error.retry_after_s)} s"
        return visit.page("sign_up.html", 429, values=values, errors={}, problem=problem)
    except CatalogueError as error:
        problem = "" if error.fields else str(error)
        return visit.page("sign_up.html", error.status, values=values, errors=error.fields, problem=problem)
    text = "You can sign in now, unless the address had an account already."
    if not visit.settings.auto_approve_developers:
        text = "Your account waits for approval. Once somebody has approved it, you can sign in."
    return visit.page("problem.html", title="Thank you for signing up", text=text)


async def show_reset(visit: Visit) -> Response:
    """The form of a link that an administrator handed out."""
    return visit.page("reset.html", link=visit.request.query_params.get("link", "")[:256], errors={}, problem="")


async def reset(visit: Visit) -> Response:
    """Set a password by a link."""
    link = visit.form.get("link", "")[:256]
    use = visit.rooms.developer_passwords.use_link
    try:
        await visit.run(use, link, visit.form.get("password", ""), visit.address)
    except (SignInError, CatalogueError) as error:
        return _refused(visit, "reset.html", error, link=link)
    return visit.page("problem.html", title="Your password is set", text="You can sign in with it now.")


async def show_password(visit: Visit) -> Response:
    """The form to change one's password."""
    visit.member()
    return visit.page("password.html", errors={}, problem="")


async def change_password(visit: Visit) -> Response:
    """Set a password by the one before; every session is over, this one too."""
    developer, form = visit.member(), visit.form
    change = visit.rooms.developer_passwords.change
    try:
        await visit.run(change, developer.id, form.get("old", ""), form.get("password", ""), visit.address)
    except (SignInError, CatalogueError) as error:
        return _refused(visit, "password.html", error)
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(SESSION, path="/")
    return response


def _refused(visit: Visit, template: str, error: SignInError | CatalogueError, **values: str) -> Response:
    """The form again, with what is wrong."""
    if isinstance(error, CatalogueError):
        problem = "" if error.fields else str(error)
        return visit.page(template, error.status, errors=error.fields, problem=problem, **values)
    wait = f": try again in {math.ceil(error.retry_after_s)} s" if error.retry_after_s else ""
    return visit.page(template, 429 if wait else 401, errors={}, problem=f"{error}{wait}", **values)


async def sign_out(visit: Visit) -> Response:
    """End the session."""
    await visit.run(visit.rooms.developers.close_session, visit.session)
    response = RedirectResponse("/", 303)
    response.delete_cookie(SESSION, path="/")
    return response
