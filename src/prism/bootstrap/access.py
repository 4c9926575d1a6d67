"""The policy, tokens, keys and revocation lists of a server, and again when these change."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from prism.adapters.grpc.admin_guard import AdminGuard, Guard, PolicyGuard
from prism.adapters.grpc.authentication import Authentication
from prism.adapters.observability.audit_log import AuditLog
from prism.adapters.revocation import load_revocation_lists
from prism.bootstrap.files import read_text
from prism.bootstrap.policy_file import load_policy
from prism.bootstrap.settings import ServerSettings, ServeSettings
from prism.domain.access.audit import Record
from prism.domain.access.audited_gateway import entrance_to
from prism.domain.access.control import AccessControl
from prism.domain.access.guarded_gateway import GuardedGateway
from prism.domain.access.logins import NOTHING, Logins, Proven, SignedTokens
from prism.domain.access.tokens import Tokens, parse_tokens
from prism.domain.gateway import Gateway
from prism.ports import InvalidArgument

if TYPE_CHECKING:
    from prism.adapters.jwt.sources import IssuerKeys, KeyFile

log = logging.getLogger(__name__)


class Access:
    """Access control of one server.

    Args:
        record: writes refusals to the audit log; None: there is none.

    Attributes:
        control: decides what callers may do.
        logins: identifies callers.
        issuer_keys: asks the issuer of JWTs for its keys while it runs; None: nobody is asked.

    Raises:
        InvalidArgument: the settings name no policy; a file cannot be read, or is not valid; or
            the package that verifies JWTs is not installed.
    """

    def __init__(self, settings: ServerSettings, record: Record | None = None) -> None:
        if settings.policy is None:
            raise InvalidArgument("policy is missing")
        self._policy_file = settings.policy
        self._tokens_file = settings.tokens
        self._lists_file = settings.tls_crl
        self._policy = load_policy(self._policy_file)
        self._tokens = _load_tokens(self._tokens_file)
        self._revoked: frozenset[bytes] = frozenset()
        self.issuer_keys: IssuerKeys | None = None
        self._key_file: KeyFile | None = None
        signed = None if settings.jwt_issuer is None else self._signed_tokens(settings)
        self.control = AccessControl(self._policy, record)
        self.logins = Logins(self.control, self._tokens, record, signed)
        self.reload_revocation_lists()

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

    def reload_keys(self) -> bool:
        """Accept JWTs that are signed with the keys in the file; as `reload_policy`."""
        if self._key_file is None or not self._key_file.reload():
            return False
        self.logins.credentials_changed()
        return True

    def reload_revocation_lists(self) -> bool:
        """Refuse the certificates in the lists of the file, and no others; as `reload_policy`."""
        if self._lists_file is None:
            return False
        lists = load_revocation_lists(self._lists_file)
        if lists.next_update is not None and lists.next_update < datetime.now(UTC):
            log.warning(
                "%s should have been replaced before %s: later revocations are not known",
                self._lists_file,
                f"{lists.next_update:%Y-%m-%d %H:%M} UTC",
            )
        if lists.certificates == self._revoked:
            return False
        self._revoked = lists.certificates
        self.logins.replace_revoked(lists.certificates)
        return True

    def _signed_tokens(self, settings: ServerSettings) -> SignedTokens:
        """Return what verifies JWTs."""
        assert settings.jwt_issuer is not None
        assert settings.jwt_audience is not None
        if find_spec("jwt") is None or find_spec("cryptography") is None:
            raise InvalidArgument(
                "jwt_issuer needs the package PyJWT, which is not installed: "
                "pip install 'prism-kv[jwt]'"
            )
        # Only servers with an issuer pay for the imports.
        from prism.adapters.jwt.fetching import check_url
        from prism.adapters.jwt.sources import IssuerKeys, KeyFile
        from prism.adapters.jwt.verifier import JwtOptions, JwtVerifier

        algorithms = settings.jwt_algorithms_allowed
        options = JwtOptions(
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            algorithms=algorithms,
            clock_skew=settings.jwt_clock_skew,
            name_claim=settings.jwt_name_claim,
            groups_claim=settings.jwt_groups_claim,
        )
        if settings.jwt_keys is not None:
            self._key_file = KeyFile(settings.jwt_keys, algorithms)
            return JwtVerifier(options, self._key_file)
        url = settings.jwt_keys_url
        if url is None:
            check_url("jwt_issuer", settings.jwt_issuer)
        else:
            check_url("jwt_keys_url", url)
        self.issuer_keys = IssuerKeys(
            settings.jwt_issuer, url, algorithms, lambda: self.logins.credentials_changed()
        )
        return JwtVerifier(options, self.issuer_keys)


def access_of(settings: ServerSettings, audit_log: AuditLog | None) -> Access | None:
    """Return the access control of a server; None: it has no policy."""
    if settings.policy is None:
        return None
    record = None if audit_log is None else audit_log.record
    return Access(settings, record)


def access_to_data_of(access: Access | None, settings: ServerSettings) -> Access | None:
    """Return what guards the keys and the commands of a server; None: nothing does.

    A pattern of a proxy only serves its proxy, which has asked: its policy is for its HTTP port.
    """
    is_pattern = isinstance(settings, ServeSettings) and settings.proxy_address is not None
    return None if is_pattern else access


def entrance_of(
    gateway: Gateway, access: Access | None, record: Record | None
) -> Gateway | GuardedGateway:
    """Return what callers of the gateway use, as `entrance_to`."""
    return entrance_to(gateway, None if access is None else access.control, record)


def operation_record_of(settings: ServerSettings, audit_log: AuditLog | None) -> Record | None:
    """Return what records operations in the audit log; None: the settings do not ask for it."""
    return audit_log.record if audit_log is not None and settings.audit_operations else None


def admin_guard_of(token_guard: AdminGuard, access: Access | None) -> Guard:
    """Return what protects the commands of operators: the policy, or else the admin token."""
    return token_guard if access is None else PolicyGuard(access.control)


def issuer_keys_of(access: Access | None) -> IssuerKeys | None:
    """Return what asks the issuer of JWTs for its keys; None: nobody is asked."""
    return None if access is None else access.issuer_keys


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
    socket = NOTHING if settings.grpc_socket is None else Proven((f"uid:{os.getuid()}",))
    return Authentication(
        access.logins, certificates=settings.tls_client_ca is not None, socket=socket
    )


def _load_tokens(path: Path | None) -> Tokens:
    if path is None:
        return Tokens()
    text = read_text(path)
    try:
        return parse_tokens(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error.message}") from None
