"""Where patterns call back; implements the domain's `ControlPlane`."""

from __future__ import annotations

from prism.adapters.grpc.servicers.pattern_control.options import ReceptionOptions
from prism.adapters.grpc.servicers.pattern_control.session import PatternSession
from prism.adapters.grpc.servicers.pattern_control.visit import PatternVisit
from prism.domain.patterns.ports import OnDebugEvent, OnEvent
from prism.domain.patterns.values import PatternSpec
from prism.ports import Unauthenticated
from prism.v1 import pattern_pb2 as pb


class PatternReception:
    """Knows who is expected, and who has come."""

    def __init__(self, options: ReceptionOptions | None = None) -> None:
        self.options = options or ReceptionOptions()
        self._visits: set[PatternVisit] = set()

    def expect(
        self, spec: PatternSpec, *, on_event: OnEvent, on_debug_event: OnDebugEvent
    ) -> PatternVisit:
        visit = PatternVisit(spec, self.options, on_event, on_debug_event, self._visits.discard)
        self._visits.add(visit)
        return visit

    def admit(self, shown: str, registration: pb.Registration) -> PatternSession:
        """Let in whoever shows what lets it in.

        Args:
            shown: a token, or the secret of a session.

        Raises:
            Unauthenticated: nobody is expected who would show that.
            PreconditionFailed: it is not what is expected.
            InvalidArgument: it does not say what it has to.
        """
        found = [
            visit for visit in tuple(self._visits) if visit.is_for(shown, registration.process_id)
        ]
        if not found:
            raise Unauthenticated(
                "the token is unknown to this proxy, or was used before: a pattern is let in "
                "once by the token of its launch, and returns by the secret of its session"
            )
        return found[0].admit(registration)
