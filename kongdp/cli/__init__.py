"""The kongdp command."""
