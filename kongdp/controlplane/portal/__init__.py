"""The developer portal: what developers see of the catalogue, and where they get their keys (`kongdp_portal_listen`).

In: a browser.  Out: plain pages made on the server; they need no script and load nothing from elsewhere. What may be seen
and done is decided by the rooms that the API uses (`portal_rooms`); pages only show and ask.
House rule: nobody here is a user of the control plane. Accounts, sessions and cookies are the portal's own, and no page
shows anything of a service that is not published. Cold.
Source: walkthrough sections 11 and 12.

    application.py      the ASGI application: routes, security fields, errors
    visit.py            one request: who it is, form tokens, the audit log, rendering
    reading.py          what pages show of the catalogue
    catalogue_pages.py  catalogue, service, version, registering
    account_pages.py    sign in, sign up, sign out
    application_pages.py  My Apps, an app, its keys
    templates/, static/ Jinja2 templates (escaped) and the one style sheet
"""
