"""ocf:hacluster:MailTo: writes to the administrator when a group of resources comes and goes."""

from __future__ import annotations

import os

from agents import sdk
from agents.resources.state_file import StateFile
from hacluster.vocabulary.ocf_exit import OcfExit


class MailTo(sdk.Agent):
    """Sends a mail on start and on stop, over SMTP; it never keeps a take-over waiting."""

    name = "MailTo"
    shortdesc = "Notifies by mail"
    longdesc = """Sends a mail when it is started and when it is stopped: put it at the end of a group. The
        mail is handed to an SMTP server in the background: one that does not answer delays nothing."""

    email = sdk.Text("Addresses of the receivers, separated by blanks.", required=True)
    subject = sdk.Text("The beginning of the subject.", default="Resource group")
    sender = sdk.Text("The address the mail comes from; by default root at this node.")
    smtp = sdk.Text("HOST[:PORT] of the SMTP server.", default="localhost:25", reloadable=True)

    @property
    def file(self) -> StateFile:
        """The state file of this instance."""
        return StateFile(os.path.join(self.state_folder, f"MailTo-{self.instance.replace('/', '-')}.state"))

    def validate(self) -> None:
        """Addresses and server must be readable."""
        for address in self.email.split():
            if "@" not in address and not address.isalnum():
                raise sdk.AgentFailure(OcfExit.ERR_CONFIGURED, f"{address!r} is not a mail address")
        _, _, port = self.smtp.partition(":")
        if port and not port.isdecimal():
            raise sdk.AgentFailure(OcfExit.ERR_CONFIGURED, f"{self.smtp!r} is not HOST[:PORT]")

    def start(self) -> OcfExit | None:
        """Say that the group runs here now."""
        if self.file.read() is None:
            self.file.write("started\n")
            self._mail("Takeover in progress")
        return None

    def stop(self) -> OcfExit | None:
        """Say that the group goes away."""
        if self.file.read() is not None:
            self.file.remove()
            self._mail("Migrating resource away")
        return None

    def monitor(self) -> OcfExit | None:
        """Look for the state file."""
        return OcfExit.OK if self.file.read() is not None else OcfExit.NOT_RUNNING

    def _mail(self, what: str) -> None:
        if sdk.in_background():
            return
        try:
            self._deliver(what)
        except OSError as error:  # smtplib's errors are OSErrors as well
            import syslog

            syslog.syslog(syslog.LOG_WARNING, f"MailTo {self.instance}: the mail was not sent: {error}")
        finally:
            os._exit(0)

    def _deliver(self, what: str) -> None:
        import smtplib
        from email.message import EmailMessage

        node = self.meta("on_node") or os.uname().nodename
        message = EmailMessage()
        message["From"] = self.sender or f"root@{node}"
        message["To"] = ", ".join(self.email.split())
        message["Subject"] = f"{self.subject} {what} on {node}"
        message.set_content(f"Resource {self.instance}: {what} on {node}\n")
        host, _, port = self.smtp.partition(":")
        with smtplib.SMTP(host, int(port or "25"), timeout=20) as server:
            server.send_message(message)


AGENT = MailTo
