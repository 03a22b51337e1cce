"""The commands agents call back into the cluster with (crm_attribute, attrd_updater, crm_node, …).

Standard library only, and nothing heavy: an agent may call them many times in one action.

The protocol, on the unix socket HACLUSTER_AGENT_SOCKET (served by ha-crm): the client sends one line of JSON,
the server answers with one line of JSON and closes. A request is an object with

- "command": what to do (below); "resource": OCF_RESOURCE_INSTANCE of the caller, "" outside of agents;
- "section": "status" (transient, gone when the node leaves), "nodes" (permanent node attributes) or
  "crm_config" (cluster options), for the commands on attributes;
- "node": a node's name, "" for the local one; "set": an attribute set's id, "" for the usual one.

| command | more keys | keys of the answer |
| --- | --- | --- |
| "query" | "name" | "node": its name, "value": string, or null when it is not set |
| "query-all" | "name" | "values": {node: value}, nodes without one left out |
| "update" | "name", "value" ("5", "value++", "value+=3"), "dampen_ms" or null | - |
| "delete" | "name" | - |
| "nodes" | - | "local", "quorate", "nodes": [{"id", "name", "member"}] sorted by id |
| "cib" | "xpath": of the part that is wanted, "" for all | "xml": string, one element a line |
| "parameter" | "id": a resource, "kind": "params", "meta" or "utilization", "name" | "value" or null |
| "set-parameter" | the same, "value": string, or null to delete | - |
| "ban" | "id": a resource, "node" | - |
| "clear" | "id": a resource, "node" or "" for all | - |
| "transition" | - | "actions": what the DC is still about to do, as text |
| "fence" | "node", "action": "reboot", "off" or "on" | "id": of the record |
| "fencing-history" | "node" or "" for all | "records": objects with "id", "target", "action", "state" … |
| "locate" | "id": a resource | "locations": [{"node", "role"}] |
| "resource-xml" | "id": a resource | "xml": string |

The answer is {"ok": true, …} or {"ok": false, "exit": number, "error": text}. `exit` is the exit code of the
command (Pacemaker's crm_exit codes): 102 not connected, 105 no such thing, 4 not permitted, 64 usage, 1 else.
An update is answered when the local node's next query sees it (read your write).
"""
