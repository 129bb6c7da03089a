"""The web console: what people see of the control plane in a browser.

In: pages and clicks on `admin_gui_listen`.  Out: screens. House rule: a screen only shows and asks. It holds no rule and
no state of its own: everything is read and changed by `visit.ask`, which calls the control plane's HTTP application
inside this process with the visitor's own session, through the same guard, roles, audit log and changes door as any other
client. What a person may not do by the API, no click can do. Cold.

    door.py       who may come in: sessions, origins, security fields; the sign-in form (`sign_in.py`)
    asking.py     calls of the API as the visitor; `RefusedError` has its message and its fields
    visit.py      `@screen`: what a page function is given, and what happens when the API refuses
    layout.py     menu, breadcrumbs, headings
    sockets.py    a page's socket belongs to the session that loaded the page
    parts/        what several screens use: tables, forms, dialogs, live parts, charts, states
    screens/      one module a screen

To add a screen: write `screens/<name>.py` with a function

    @screen("/things/{thing}", title="Thing", menu="things")
    async def thing(visit: Visit, thing: str, tab: str = "") -> None:
        found = await visit.ask.get(at("/v2/things/{}", thing))
        heading(visit, found["name"], crumbs=[("Things", "/things")])
        ...

and name the module in `screens/__init__.py`. Arguments come from the path and the query, so whatever a screen can show
(object, tab, filter, time frame) has an address. Let `RefusedError` pass: the screen shows it. To change something, call
`visit.ask.post` and its kin in an event handler; in a form, `Form.submit` puts the API's complaints at their fields, and
`confirm` asks before anything is destroyed. Text is text: `ui.label`, table cells and props never interpret HTML; what
is HTML goes through `parts.markup`, which cleans it. Live figures belong in a `Live`, which says when it is paused or
stale. Look at a new screen at three widths and in the dark; `tests/system/console/test_screens.py` visits every
screen with axe.
"""
