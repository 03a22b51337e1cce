"""Names of the events that the replicated CIB logs."""

from __future__ import annotations

from typing import Final

LOADED: Final = "crm.cib_loaded"
CORRUPT: Final = "crm.cib_corrupt"
DC_WON: Final = "crm.dc_won"
DC_LOST: Final = "crm.dc_lost"
DC_FOLLOWED: Final = "crm.dc_followed"
COMMITTED: Final = "crm.cib_committed"
ORPHANS: Final = "crm.cib_orphans"
MERGED: Final = "crm.cib_orphans_decided"
VOTERS: Final = "crm.voters"
DIES: Final = "crm.replica_dies"
CIB_XML_FAILED: Final = "crm.cib_xml_failed"
