"""DAWN's numbers of pose in terms of ours.

Theirs, of 3DDFA, are yaw, pitch, roll in degrees, the scale of the head and its
place (x, y from below) in a crop of 120 pixels that follows the face. Ours are
yaw, pitch, roll, x and y from above in half images, log size. The angles are
taken as the same. How far a head moves in a crop that follows it is not known:
the crop is taken for the whole image, and the head's usual size for the middle
of ours. All of this is linear, so it goes into the order of tensors and into
scales, and converted models take and give our pose.
"""

import math

ORDER = (0, 1, 2, 4, 5, 3)  # Where ours stand among theirs.
RADIUS = 60.0  # Pixels in half a crop, and the middle of it.
USUAL_SCALE = 5e-4
_USUAL_SIZE = math.log(0.6)  # Of a portrait, ours.

# Of ours, what changes theirs by one.
UNIT = (1.0, 1.0, 1.0, 1 / RADIUS, -1 / RADIUS, 1 / USUAL_SCALE)
# Of ours, where theirs are zero.
ZERO = (0.0, 0.0, 0.0, -1.0, 1.0, _USUAL_SIZE - 1)
