"""The resource agents this project ships, one a module; each names its class AGENT.

The table is the whole registry: agents.sdk loads a module when its type is asked for.
"""

from __future__ import annotations

MODULES = {
    "Container": "agents.resources.container",
    "Delay": "agents.resources.delay",
    "Dummy": "agents.resources.dummy",
    "Filesystem": "agents.resources.filesystem",
    "HealthCPU": "agents.resources.healthcpu",
    "IPaddr": "agents.resources.ipaddr",
    "IPsrcaddr": "agents.resources.ipsrcaddr",
    "MailTo": "agents.resources.mailto",
    "Process": "agents.resources.process",
    "Route": "agents.resources.route",
    "Stateful": "agents.resources.stateful",
    "SysInfo": "agents.resources.sysinfo",
    "WebServer": "agents.resources.webserver",
    "Witness": "agents.resources.witness",
    "ping": "agents.resources.ping",
}
