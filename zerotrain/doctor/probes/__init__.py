"""What there is: each module asks one part of the machine, and judges nothing."""
