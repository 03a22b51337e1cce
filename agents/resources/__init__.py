"""The resource agents this project ships, one a module; each names its class AGENT.

The table is the whole registry: agents.sdk loads a module when its type is asked for.
"""

from __future__ import annotations

MODULES = {
    "Delay": "agents.resources.delay",
    "Dummy": "agents.resources.dummy",
    "Filesystem": "agents.resources.filesystem",
    "IPaddr": "agents.resources.ipaddr",
    "MailTo": "agents.resources.mailto",
    "Stateful": "agents.resources.stateful",
    "WebServer": "agents.resources.webserver",
    "Witness": "agents.resources.witness",
}
