"""Where the time of a step goes: `nnopt train --profile`."""
