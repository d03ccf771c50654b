"""Makes C{twistd jobd} and C{twist jobd} known to Twisted; all wiring is in L{jobd.service}."""

from twisted.application.service import ServiceMaker

jobd = ServiceMaker("jobd", "jobd.service", "A job daemon you talk to over a socket.", "jobd")
