"""The book of theorems as advice: what to do where a rule applies, one sentence or two for every rule that stands for
a theorem. Written from what the rules say, never from a problem of a data set."""

ADVICE: dict[str, str] = {
    # angles and lines
    "linear_pair": "When two angles lie side by side on a straight line, subtract the known one from 180.",
    "vertical_angles": "When two lines cross, take the angle opposite the known one as equal to it.",
    "angle_parts": "When a ray divides an angle, add the two parts, or subtract one part from the whole.",
    "flat_angle": "Add all angles on one side of a straight line to 180 and subtract the known ones.",
    "round_angle": "Add all angles round a point to 360 and subtract the known ones.",
    "alternate_angles": "When two lines are parallel, take alternate interior angles at a third line as equal.",
    "corresponding_angles": "When two lines are parallel, take corresponding angles at a third line as equal.",
    "cointerior_angles": (
        "When two lines are parallel, subtract an interior angle from 180 to get the one on the same side."
    ),
    "parallel_by_corresponding": (
        "When two corresponding angles are equal, take the lines as parallel and go on from there."
    ),
    "parallel_by_alternate": (
        "When two alternate interior angles are equal, take the lines as parallel and go on from there."
    ),
    "parallel_by_cointerior": "Add two interior angles on one side; when they make 180, take the lines as parallel.",
    "parallel_by_perpendiculars": "When two lines are both perpendicular to a third, take them as parallel.",
    "parallel_by_parallels": "When two lines are both parallel to a third, take them as parallel to one another.",
    "bisector_halves": "When a ray bisects an angle, halve the whole angle, or double a half of it.",
    "bisector_by_halves": "When a ray makes two equal angles, take it as the bisector of the whole angle.",
    "segment_parts": "Add the parts of a segment to get the whole, or subtract a part from the whole.",
    "midpoint_halves": "When a point is the midpoint, halve the segment, or double a half of it.",
    "midpoint_by_halves": "When a point divides a segment into two equal parts, take it as the midpoint.",
    # triangles
    "angle_sum": "Add the two known angles of the triangle and subtract their sum from 180.",
    "exterior_angle": "Add the two inner angles that are not beside it to get an exterior angle of a triangle.",
    "base_angles": "When two sides of a triangle are equal, take the angles opposite them as equal.",
    "apex_angle": "In an isosceles triangle subtract the apex angle from 180 and halve it to get a base angle.",
    "equal_sides": "When two angles of a triangle are equal, take the sides opposite them as equal.",
    "equilateral_angle": "Take each angle of an equilateral triangle as 60.",
    "equilateral_by_angle": "When an isosceles triangle has an angle of 60, take all its sides as equal.",
    "three_in_one": (
        "In an isosceles triangle take the median to the base as altitude and as bisector of the apex angle."
    ),
    "law_of_cosines": "With two sides and the angle between, use c² = a² + b² - 2ab cos C for the third side.",
    "triangle_perimeter": "Add the three sides of the triangle to get its perimeter.",
    "triangle_area_sine": "Multiply two sides of the triangle by the sine of the angle between and halve the product.",
    "acute_angles": "In a right triangle subtract the known acute angle from 90 to get the other.",
    "pythagoras": "In a right triangle add the squares of the legs and take the root to get the hypotenuse.",
    "pythagoras_inverse": "Check whether a² + b² = c² holds for the sides; then the angle opposite c is 90.",
    "hypotenuse_median": "Halve the hypotenuse to get the median from the right angle.",
    "half_hypotenuse": "In a right triangle with an angle of 30, halve the hypotenuse to get the leg opposite it.",
    "special_ratio": "In a right triangle with an angle of 30, 45 or 60, use its known sine, cosine or tangent.",
    "trigonometry": "In a right triangle use sine = opposite / hypotenuse, cosine = adjacent / hypotenuse.",
    "law_of_sines": "Divide each side by the sine of the opposite angle and set these quotients equal.",
    "bisector_distance": "When a point lies on the bisector of an angle, take its distances from the sides as equal.",
    "bisector_ratio": "When a bisector meets the opposite side, divide that side in the ratio of the other two sides.",
    "perpendicular_bisector": (
        "When a point lies on the perpendicular bisector, take its distances from both ends as equal."
    ),
    "perpendicular_bisector_parts": "Take a perpendicular bisector as halving the segment at an angle of 90.",
    "perpendicular_through_midpoint": (
        "When a line through the midpoint is perpendicular, take its points as equally far from both ends."
    ),
    "midline": "When a segment joins the midpoints of two sides, halve the third side to get its length.",
    "midline_parallel": "When a segment joins the midpoints of two sides, take it as parallel to the third side.",
    "midline_by_parallel": "When a parallel to a side passes through a midpoint, take its other end as a midpoint too.",
    "triangle_area": "Multiply base by height and halve the product to get the area of a triangle.",
    "median_area": "Halve the area of the triangle to get the area on each side of a median.",
    # similar and congruent triangles
    "similar_aa": "Look for two pairs of equal angles and take the two triangles as similar.",
    "mirror_similar_aa": "Turn one triangle over, look for two pairs of equal angles and take the two as similar.",
    "similar_by_parallel": (
        "When a line is parallel to a side, take the small triangle it cuts off as similar to the whole."
    ),
    "similar_by_crossing": "When two lines cross between parallels, take the two triangles as similar.",
    "similar_sas": "When two triangles share an angle between sides in proportion, take them as similar.",
    "mirror_similar_sas": (
        "Turn one triangle over; with an equal angle between sides in proportion take the two as similar."
    ),
    "similar_ratio": "Set the quotients of matching sides of similar triangles equal and solve for the unknown side.",
    "mirror_similar_ratio": "Match the sides of the turned triangle by their angles, then set the quotients equal.",
    "similar_angles": "Take matching angles of similar triangles as equal.",
    "mirror_similar_angles": "Match the angles of the turned similar triangle and take them as equal.",
    "similar_area": "Square the ratio of the sides to get the ratio of the areas of similar triangles.",
    "mirror_similar_area": "Match the sides of the turned similar triangle and square their ratio for the areas.",
    "similar_perimeter": "Take the ratio of the sides as the ratio of the perimeters of similar triangles.",
    "congruent_sss": "When three pairs of sides are equal, take the triangles as congruent.",
    "mirror_congruent_sss": "When three pairs of sides are equal, take the turned triangle as congruent.",
    "congruent_sas": "When two pairs of sides and the angles between are equal, take the triangles as congruent.",
    "mirror_congruent_sas": (
        "When two pairs of sides and the angles between are equal, take the turned triangle as congruent."
    ),
    "congruent_aas": "When two pairs of angles and a pair of sides are equal, take the triangles as congruent.",
    "mirror_congruent_aas": (
        "When two pairs of angles and a pair of sides are equal, take the turned triangle as congruent."
    ),
    "congruent_hl": "When right triangles have equal hypotenuse and leg, take them as congruent.",
    "mirror_congruent_hl": "When right triangles have equal hypotenuse and leg, take the turned one as congruent.",
    "congruent_sides": "Take matching sides of congruent triangles as equal.",
    "mirror_congruent_sides": "Match the sides of the turned congruent triangle and take them as equal.",
    "congruent_angles": "Take matching angles of congruent triangles as equal.",
    "mirror_congruent_angles": "Match the angles of the turned congruent triangle and take them as equal.",
    "proportional_parts": "When a line is parallel to a side, divide the other two sides in the same ratio.",
    # quadrilaterals
    "quadrilateral_sum": "Add the known angles of the quadrilateral and subtract their sum from 360.",
    "parallelogram_by_parallels": "When both pairs of sides are parallel, take the quadrilateral as a parallelogram.",
    "parallelogram_by_one_pair": (
        "When one pair of sides is parallel and equal, take the quadrilateral as a parallelogram."
    ),
    "parallelogram_by_sides": "When both pairs of opposite sides are equal, take the quadrilateral as a parallelogram.",
    "parallelogram_by_angles": (
        "When both pairs of opposite angles are equal, take the quadrilateral as a parallelogram."
    ),
    "rectangle_by_angle": "When a parallelogram has a right angle, take it as a rectangle.",
    "rhombus_by_sides": "When all four sides are equal, take the quadrilateral as a rhombus.",
    "quadrilateral_perimeter": "Add the four sides to get the perimeter of the quadrilateral.",
    "trapezium_midline": "Add the two bases of the trapezoid and halve the sum to get its midline.",
    "trapezium_area": "Add the two bases of the trapezoid, multiply by the height and halve the product.",
    "isotrap_angles": "Take the two angles at a base of an isosceles trapezoid as equal.",
    "isotrap_diagonals": "Take the two diagonals of an isosceles trapezoid as equal.",
    "parallelogram_sides": "Take opposite sides of the parallelogram as equal.",
    "parallelogram_angles": "Take opposite angles of the parallelogram as equal.",
    "parallelogram_neighbours": "Subtract an angle of the parallelogram from 180 to get the one beside it.",
    "parallelogram_diagonals": "Halve each diagonal of the parallelogram where the two cross.",
    "rectangle_diagonals": "Take the two diagonals of the rectangle as equal.",
    "rectangle_half_diagonals": "Take all four halves of the diagonals of the rectangle as equal.",
    "rhombus_diagonals": "Take the diagonals of the rhombus as perpendicular.",
    "rhombus_halves": "Halve an angle of the rhombus to get its angle with the diagonal.",
    "parallelogram_perimeter": "Add two neighbouring sides of the parallelogram and double the sum for the perimeter.",
    "rhombus_perimeter": "Multiply a side of the rhombus or square by four to get the perimeter.",
    "rectangle_area": "Multiply length by width to get the area of the rectangle.",
    "parallelogram_area": "Multiply base by height to get the area of the parallelogram.",
    "parallelogram_area_sine": "Multiply two sides of the parallelogram by the sine of the angle between for its area.",
    "rhombus_area": "Multiply the diagonals of the rhombus and halve the product to get its area.",
    # circles
    "radii": "Take all radii of the circle as equal.",
    "radius_triangle": "When two sides are radii, take the angles at the circle as equal.",
    "radius_apex": (
        "When two sides are radii, subtract the central angle from 180 and halve it for an angle at the circle."
    ),
    "diameter_by_centre": "When a chord passes through the centre, take it as a diameter.",
    "diameter_radius": "Halve the diameter to get the radius, or double the radius to get the diameter.",
    "diameter_angle": "When a diameter is seen from a point of the circle, take the angle there as 90.",
    "diameter_by_angle": "When a chord is seen from the circle at an angle of 90, take it as a diameter.",
    "inscribed_central": (
        "Halve the central angle to get the inscribed angle over the same arc, or double the inscribed one."
    ),
    "inscribed_reflex": (
        "When the inscribed angle stands over the larger arc, subtract half of the central angle from 180."
    ),
    "same_arc": "Take inscribed angles over the same arc as equal.",
    "cyclic_opposite": "When four points lie on a circle, subtract an angle from 180 to get the opposite one.",
    "cyclic_exterior": (
        "When four points lie on a circle, take the exterior angle as equal to the opposite inner angle."
    ),
    "arc_central": "Take the measure of an arc as its central angle.",
    "arc_inscribed": "Halve the measure of the arc to get the inscribed angle over it.",
    "arc_parts": "Add the parts of an arc to get the whole arc, or subtract a part from it.",
    "semicircle_arcs": "Add the arcs of a semicircle to 180 and subtract the known ones.",
    "arcs_round": "Add the arcs round the circle to 360 and subtract the known ones.",
    "equal_arcs_inscribed": "When two arcs are equal, take the inscribed angles over them as equal.",
    "equal_arcs_central": "When two arcs are equal, take their central angles as equal.",
    "equal_arcs_half": (
        "When two arcs are equal, halve the central angle of one to get the inscribed angle over the other."
    ),
    "equal_chords": "When two arcs are equal, take their chords as equal.",
    "arcs_of_equal_chords": "When two chords are equal, take their arcs as equal.",
    "perpendicular_chord": "When a radius is perpendicular to a chord, halve the chord.",
    "perpendicular_arc": "When a radius is perpendicular to a chord, halve the arc of the chord.",
    "midpoint_chord": "When a radius passes through the midpoint of a chord, take it as perpendicular to the chord.",
    "tangent_radius": "Take the angle between a tangent and the radius to its point of contact as 90.",
    "tangent_by_right_angle": "When a line is perpendicular to a radius at its end, take it as a tangent.",
    "tangent_lengths": "Take the two tangents from one point to the circle as equal.",
    "tangent_centre": "Halve the angle of the two tangents to get the angle with the line to the centre.",
    "tangent_kite": "Subtract the angle of the two tangents from 180 to get the central angle of their points.",
    "tangent_chord": "Take the angle between tangent and chord as equal to the inscribed angle over the chord.",
    "tangent_power": "Multiply the two segments of the secant and take the root to get the tangent.",
    "sector_area": "Multiply πr² by the angle over 360 to get the area of the sector.",
    "arc_length": "Multiply 2πr by the angle over 360 to get the length of the arc.",
    "circle_area": "Square the radius and multiply by π to get the area of the circle.",
    "circumference": "Multiply the radius by 2π to get the circumference of the circle.",
}
"""Rule -> guidance."""
