"""`python -m softknee.claims SCRIPT FOLDER`: measures one claim and leaves its record in the folder."""

import sys
from pathlib import Path

from softknee.claims.entry import entry
from softknee.claims.record import save
from softknee.claims.run import measured

save(measured(entry(Path(sys.argv[1]))), Path(sys.argv[2]))
