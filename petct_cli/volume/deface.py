"""Which voxels of a CT show the face: the shell of skin and fat of the head, in patient coordinates.

The outline of the head, with everything narrower than twice 25 mm taken off it (nose, lips, chin, ears), is moved 10 mm
inwards. What lies between this core and a rim 50 mm further out is the shell, in front and at the sides; bone and what
it encloses are no part of it. As the rim follows the core and not the skin, neither edge of it tells what the face was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError
from petct_cli.volume.ct_stack import Box, CtSlice, CtStack, HuSlice, stack_of
from petct_cli.volume.geometry import Array, SlicePlane
from petct_cli.volume.head import HeadRange, Mask, find_head, grid_above, rules

Field = npt.NDArray[np.float32]
_STEP_MM = 2.0
_COARSE_MM = 2 * _STEP_MM
_BELOW_MM = 30.0
_FAR_MM = 1000.0
_AIR_INSIDE_HU = -500
_LEAST_AIR_CM3 = 1.5
_FACES_FRONT = 0.8
_BONE_NEAR_MM = 5.0


@dataclass(frozen=True)
class Face:
    """Where the face lies, for images of any orientation.

    Attributes
    ----------
    head
        The landmarks it was found by.
    all_around
        The air of nose and sinuses does not confirm that the face looks where the header says: the shell has no gap
        behind.
    """

    head: HeadRange
    top_mm: float
    all_around: bool = False
    _box: Box | None = field(default=None, repr=False)
    _shell: Field | None = field(default=None, repr=False)
    _bone: Field | None = field(default=None, repr=False)

    def mask(self, plane: SlicePlane, hu: HuSlice) -> Mask | None:
        """Return which pixels (rows, columns) of an image belong to the shell, or None when none does."""
        if self._box is None or self._shell is None or self._bone is None:
            return None
        corners = _points(plane, np.array([0, plane.shape[0] - 1]), np.array([0, plane.shape[1] - 1]))
        if corners[..., 2].max() < self.head.floor_mm:
            return None
        points = _points(plane, np.arange(plane.shape[0]), np.arange(plane.shape[1]))
        shell = self._at(self._shell, points, -_FAR_MM)
        bone = (hu > rules()["shell"]["bone_hu"]) & (self._at(self._bone, points, _FAR_MM) < _BONE_NEAR_MM)
        found: Mask = (shell > 0) & ~bone & (points[..., 2] >= self.head.floor_mm)
        return found if found.any() else None

    def _at(self, values: Field, points: Array, outside: float) -> Field:
        from scipy.ndimage import map_coordinates

        assert self._box is not None
        index = [(points[..., 2 - axis] - self._box.origin[2 - axis]) / self._box.step for axis in range(3)]
        # Half a cell beyond the first and last plane still belongs to them.
        last = self._box.shape[0] - 1
        near = (index[0] > -1) & (index[0] < last + 1.5)
        index[0] = np.where(near, np.clip(index[0], 0, last), -9)
        sampled: Field = map_coordinates(values, index, order=1, mode="constant", cval=outside, output=np.float32)
        return sampled


def find_face(slices: Sequence[CtSlice]) -> Face:
    """Return where the face lies in one series; its `head` says whether there is one.

    Raises
    ------
    RecordError
        ``deface_no_landmark`` (`find_head`), ``face_geometry`` (`stack_of`).
    """
    stack = stack_of(slices)
    head = find_head(stack)
    top = float(stack.box[1][2])
    if not head.has_face:
        return Face(head, top)
    return _Shell(stack, head, top).face()


def _points(plane: SlicePlane, rows: npt.NDArray[np.int_], columns: npt.NDArray[np.int_]) -> Array:
    """Return the LPS coordinates of pixel centres, (rows, columns, 3)."""
    down = np.array(plane.column) * plane.spacing[0]
    right = np.array(plane.row) * plane.spacing[1]
    return np.asarray(plane.position + rows[:, None, None] * down + columns[None, :, None] * right, np.float64)


class _Shell:
    """The making of the shell on a straight 2 mm grid around the head."""

    def __init__(self, stack: CtStack, head: HeadRange, top: float) -> None:
        self.head, self.top = head, top
        self.box, self.hu = self._around_head(stack)
        self.z = self.box.axis(0)
        self.skin, self.arms = self._parts()

    def _around_head(self, stack: CtStack) -> tuple[Box, npt.NDArray[np.int16]]:
        """Return the grid, cut down to the head and its surroundings."""
        box = grid_above(stack, self.head.floor_mm - _BELOW_MM, _STEP_MM)
        hu = stack.sample(box)
        margin = int((rules()["shell"]["reach"] + 20) / _STEP_MM)
        brain = self.head.brain_mm
        planes = box.axis(0) >= (brain[0] if brain else self.head.floor_mm)
        seen = (hu[planes] > rules()["head"]["body_hu"]).any(axis=0)
        if not seen.any():
            raise RecordError("deface_no_landmark", "no head is seen where it should be")
        y, x = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
        first = max(0, y[0] - margin), max(0, x[0] - margin)
        part = hu[:, first[0] : y[-1] + margin + 1, first[1] : x[-1] + margin + 1]
        origin = box.origin[0] + first[1] * _STEP_MM, box.origin[1] + first[0] * _STEP_MM, box.origin[2]
        return Box(origin, (part.shape[0], part.shape[1], part.shape[2]), _STEP_MM), np.ascontiguousarray(part)

    def _parts(self) -> tuple[Mask, Mask]:
        """Return the head and, apart from it, arms: other large parts of the body that hold bone."""
        from scipy.ndimage import binary_fill_holes, binary_opening, label

        cross = np.zeros((3, 3, 3), np.bool_)
        cross[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
        body = binary_opening(self.hu > rules()["head"]["body_hu"], cross, iterations=2)
        # Below the neck arms and head hang together by the shoulders: what is seen there belongs to both.
        lower = self.z < self.head.floor_mm + (rules()["head"]["neck_margin"] if self.head.brain_mm else 0)
        trunk = body & lower[:, None, None]
        labels, count = label(body & ~lower[:, None, None])
        if not count:
            raise RecordError("deface_no_landmark", "no head is seen where it should be")
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[0] = 0
        own = sizes
        brain = self.head.brain_mm
        if brain is not None:
            inside = (self.z >= brain[0]) & (self.z <= brain[1])
            own = np.bincount(labels[inside].ravel(), minlength=count + 1)
            own[0] = 0
        chosen = int(own.argmax())
        boned = np.bincount(labels[self.hu > rules()["shell"]["bone_hu"]].ravel(), minlength=count + 1)
        large = sizes * _STEP_MM**3 / 1000 >= rules()["shell"]["smallest_arm_cm3"]
        arms = large & (boned * _STEP_MM**3 / 1000 >= rules()["shell"]["smallest_bone_cm3"])
        arms[[0, chosen]] = False
        head = (labels == chosen) | trunk
        for plane in head:
            binary_fill_holes(plane, output=plane)
        return head, arms[labels]

    def face(self) -> Face:
        shell = rules()["shell"]
        # Shapes of centimetres are found on a grid of half the resolution, eight times as fast.
        core, hollow = _core(self.skin[::2, ::2, ::2])
        outside = _refined(_signed_distance(core), self.hu.shape)
        # No nose is left because it is long.
        reach = max(shell["reach"], float(outside[self.skin].max()) + 5)
        front, all_around = self._front(core, hollow & (self.hu[::2, ::2, ::2] < _AIR_INSIDE_HU))
        bone = self._bone()
        found = np.minimum(np.minimum(outside, reach - outside), bone - shell["bone_margin"])
        if not all_around:
            found = np.minimum(found, front)
        if self.arms.any():
            found = np.minimum(found, _distance(~self.arms, _STEP_MM) - _STEP_MM)
        return Face(self.head, self.top, all_around, self.box, found.astype(np.float32), bone.astype(np.float32))

    def _front(self, core: Mask, air: Mask) -> tuple[Field, bool]:
        """Return how far (mm) each voxel is from the wedge behind the head, and whether there is no trusting it.

        `core` and the `air` inside of the head are on the coarse grid.
        """
        middle_x, middle_y = _centres(core, self.box)
        planes = np.arange(self.box.shape[0]) / 2
        middle_x, middle_y = (np.interp(planes, np.arange(len(core)), middle) for middle in (middle_x, middle_y))
        sideways = self.box.axis(2)[None, None, :] - middle_x[:, None, None]
        back = self.box.axis(1)[None, :, None] - middle_y[:, None, None]
        front = (np.abs(sideways) - back).astype(np.float32)
        brain = self.head.brain_mm
        air = air & (self.z[::2] >= (brain[0] - 80 if brain else self.head.floor_mm))[:, None, None]
        if air.sum() * _COARSE_MM**3 / 1000 < _LEAST_AIR_CM3:
            return front, True
        across = float(np.broadcast_to(sideways[::2, :, ::2], air.shape)[air].mean())
        along = float(np.broadcast_to(back[::2, ::2], air.shape)[air].mean())
        return front, not (along < -3 and abs(across) <= _FACES_FRONT * abs(along))

    def _bone(self) -> Field:
        """Return the distance (mm) to bone and to what bone encloses in an axial plane."""
        from scipy.ndimage import binary_closing, binary_fill_holes, label

        limits = rules()["shell"]
        labels, count = label(self.hu > limits["bone_hu"], np.ones((3, 3, 3)))
        sizes = np.bincount(labels.ravel(), minlength=count + 1) * _STEP_MM**3 / 1000
        sizes[0] = 0
        bone = (sizes >= limits["smallest_bone_cm3"])[labels]
        for plane in bone:
            if plane.any():
                closed = np.pad(plane, 3)
                plane |= binary_fill_holes(binary_closing(closed, iterations=2))[3:-3, 3:-3]
        return _distance(~bone, _STEP_MM) if bone.any() else np.full(bone.shape, _FAR_MM, np.float32)


def _core(skin: Mask) -> tuple[Mask, Mask]:
    """Return what lies deep in a head, and the head with all that is hollow in it, both on the coarse grid."""
    shell = rules()["shell"]
    pad = int((shell["feature"] + shell["depth"] + shell["bridge"]) / _COARSE_MM) + 1
    # The scan ends above and below, the head does not: its last planes go on.
    head = np.pad(skin, ((pad, pad), (0, 0), (0, 0)), mode="edge")
    filled = _bridged(head, shell["bridge"])
    core = _eroded(_opened(head, shell["feature"]), shell["depth"])
    # An open mouth lets the outside in: what is deep in the head with its openings closed is deep, too. Closing rounds
    # the corners beside a nose, which must not show: hence the greater depth.
    core |= _eroded(_opened(filled, shell["feature"]), shell["depth"] + shell["bridge"])
    if not core.any():
        raise RecordError("deface_no_landmark", "the head of a CT is too small to be told from its skin")
    return core[pad:-pad], _eroded(filled, 2 * _COARSE_MM)[pad:-pad]


def _bridged(mask: Mask, radius: float) -> Mask:
    """Return a head with mouth, nostrils and ears closed over, and what is hollow in it filled."""
    from scipy.ndimage import binary_fill_holes

    margin = int(radius / _COARSE_MM) + 2
    wide = np.pad(mask, ((0, 0), (margin, margin), (margin, margin)))
    closed: Mask = _eroded(_dilated(wide, radius), radius)[:, margin:-margin, margin:-margin] | mask
    for plane in closed:
        binary_fill_holes(plane, output=plane)
    return closed


def _centres(core: Mask, box: Box) -> tuple[Array, Array]:
    """Return the centre (x, y) of a coarse core in each plane; planes without one take their neighbours'."""
    weight = core.sum(axis=(1, 2))
    has = np.flatnonzero(weight)
    middle = []
    for axis, coordinates in ((2, box.axis(2)[::2]), (1, box.axis(1)[::2])):
        sums = core.sum(axis=3 - axis) @ coordinates
        middle.append(np.interp(np.arange(len(core)), has, sums[has] / weight[has]))
    return middle[0], middle[1]


def _distance(mask: Mask, step: float) -> Field:
    """Return for voxels of `mask` how far (mm) the nearest one outside of it is; 0 elsewhere."""
    from scipy.ndimage import distance_transform_edt

    if mask.all():
        return np.full(mask.shape, _FAR_MM, np.float32)
    found: Field = distance_transform_edt(mask, sampling=step).astype(np.float32)
    return found


def _signed_distance(mask: Mask) -> Field:
    """Return how far (mm) outside of `mask` a voxel of the coarse grid lies; negative inside."""
    found: Field = np.where(
        mask, _COARSE_MM / 2 - _distance(mask, _COARSE_MM), _distance(~mask, _COARSE_MM) - _COARSE_MM / 2
    )
    return found


def _refined(values: Field, shape: tuple[int, ...]) -> Field:
    """Return values of every other voxel for all of them, linear between."""
    for axis, size in enumerate(shape):
        place = np.minimum(np.arange(size) / 2, values.shape[axis] - 1)
        low = place.astype(np.int64)
        high = np.minimum(low + 1, values.shape[axis] - 1)
        share = (place - low).astype(np.float32).reshape([-1 if other == axis else 1 for other in range(3)])
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


def _eroded(mask: Mask, radius: float) -> Mask:
    found: Mask = _distance(mask, _COARSE_MM) > radius
    return found


def _dilated(mask: Mask, radius: float) -> Mask:
    found: Mask = _distance(~mask, _COARSE_MM) <= radius if mask.any() else mask.copy()
    return found


def _opened(mask: Mask, radius: float) -> Mask:
    return _dilated(_eroded(mask, radius), radius)
