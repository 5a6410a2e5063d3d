"""The control loop: chunks as they come and the measured hand in, one command per period within all limits out."""
