"""The policy and the tokens of a server, from their files, and again when these change."""

from __future__ import annotations

import os
from pathlib import Path

from prism.adapters.grpc.admin_guard import AdminGuard, Guard, PolicyGuard
from prism.adapters.grpc.authentication import Authentication
from prism.adapters.observability.audit_log import AuditLog
from prism.bootstrap.policy_file import load_policy
from prism.bootstrap.secret_files import read_text
from prism.bootstrap.settings import ServerSettings
from prism.domain.access.audit import Record
from prism.domain.access.control import AccessControl
from prism.domain.access.guarded_gateway import GuardedGateway
from prism.domain.access.logins import Logins
from prism.domain.access.tokens import Tokens, parse_tokens
from prism.domain.gateway import Gateway
from prism.ports import InvalidArgument


class Access:
    """Access control of one server.

    Args:
        policy: file with the policy.
        tokens: file with the hashes of tokens; None: no token is valid.
        record: writes refusals to the audit log; None: there is none.

    Attributes:
        control: decides what callers may do.
        logins: identifies callers.

    Raises:
        InvalidArgument: a file cannot be read, or is not valid.
    """

    def __init__(self, policy: Path, tokens: Path | None, record: Record | None = None) -> None:
        self._policy_file = policy
        self._tokens_file = tokens
        self._policy = load_policy(policy)
        self._tokens = _load_tokens(tokens)
        self.control = AccessControl(self._policy, record)
        self.logins = Logins(self.control, self._tokens, record)

    def reload_policy(self) -> bool:
        """Decide by the present content of the file; return whether it has changed.

        Raises:
            InvalidArgument: as the constructor; nothing is changed.
        """
        policy = load_policy(self._policy_file)
        if policy == self._policy:
            return False
        self._policy = policy
        self.control.replace(policy)
        return True

    def reload_tokens(self) -> bool:
        """Accept the tokens in the file, and no others; as `reload_policy`."""
        tokens = _load_tokens(self._tokens_file)
        if tokens == self._tokens:
            return False
        self._tokens = tokens
        self.logins.replace_tokens(tokens)
        return True


def access_of(settings: ServerSettings, audit_log: AuditLog | None) -> Access | None:
    """Return the access control of a server; None: it has no policy."""
    if settings.policy is None:
        return None
    record = None if audit_log is None else audit_log.record
    return Access(settings.policy, settings.tokens, record)


def guarded_gateway_of(gateway: Gateway, access: Access | None) -> Gateway | GuardedGateway:
    """Return the gateway behind the policy; without a policy, the gateway itself."""
    return gateway if access is None else GuardedGateway(gateway, access.control)


def admin_guard_of(token_guard: AdminGuard, access: Access | None) -> Guard:
    """Return what protects the commands of operators: the policy, or else the admin token."""
    return token_guard if access is None else PolicyGuard(access.control)


def audit_log_of(settings: ServerSettings) -> AuditLog | None:
    """Return the audit log of a server; None: it has none.

    Raises:
        InvalidArgument: its file cannot be written.
    """
    if settings.audit_log is None:
        return None
    audit_log = AuditLog(settings.audit_log, keys=settings.audit_keys)
    try:
        audit_log.check()
    except OSError as error:
        raise InvalidArgument(
            f"the audit log {settings.audit_log} cannot be written: {error.strerror}"
        ) from None
    return audit_log


def authentication_of(access: Access | None, settings: ServerSettings) -> Authentication | None:
    """Return the authentication of gRPC callers; None: they stay anonymous."""
    if access is None:
        return None
    # The socket is open to the user of this process alone.
    names = () if settings.grpc_socket is None else (f"uid:{os.getuid()}",)
    return Authentication(
        access.logins, certificates=settings.tls_client_ca is not None, socket_names=names
    )


def _load_tokens(path: Path | None) -> Tokens:
    if path is None:
        return Tokens()
    text = read_text(path)
    try:
        return parse_tokens(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error.message}") from None
