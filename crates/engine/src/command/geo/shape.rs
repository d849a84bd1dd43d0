//! What is searched: a circle or a box around a center. Distances are those on a sphere, by the haversine formula.

use super::cell::{Area, Cell, LATITUDES, Point, STEPS_MAX, Span};

/// The radius of the sphere in meters.
const EARTH_RADIUS: f64 = 6_372_797.560_856;

/// Half of the map's width at the equator in meters.
const MERCATOR_MAX: f64 = 20_037_726.37;

const RADIANS: f64 = std::f64::consts::PI / 180.0;

/// A shape.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Its center.
    pub center: Point,
    /// Its extent.
    pub extent: Extent,
    /// Number of meters of its unit.
    pub meters: f64,
}

/// How far a shape extends, in its unit.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// A circle of this radius.
    Circle(f64),
    /// A box of this width and height.
    Box(f64, f64),
}

/// Returns the distance of two positions in meters.
pub fn distance(from: Point, to: Point) -> f64 {
    let half = |from: f64, to: f64| ((to * RADIANS - from * RADIANS) / 2.0).sin();
    let v = half(from.longitude, to.longitude);
    if v == 0.0 {
        return along_meridian(from.latitude, to.latitude);
    }
    let u = half(from.latitude, to.latitude);
    let (from, to) = (from.latitude * RADIANS, to.latitude * RADIANS);
    2.0 * EARTH_RADIUS * (u * u + from.cos() * to.cos() * v * v).sqrt().asin()
}

fn along_meridian(from: f64, to: f64) -> f64 {
    EARTH_RADIUS * (to * RADIANS - from * RADIANS).abs()
}

impl Shape {
    /// Returns the distance of a position from the center in meters; none if it is outside.
    pub fn distance_within(&self, point: Point) -> Option<f64> {
        match self.extent {
            Extent::Circle(radius) => {
                Some(distance(self.center, point)).filter(|meters| *meters <= radius * self.meters)
            }
            Extent::Box(width, height) => {
                if along_meridian(point.latitude, self.center.latitude) > height * self.meters / 2.0
                {
                    return None;
                }
                let level = Point { latitude: point.latitude, ..self.center };
                if distance(point, level) > width * self.meters / 2.0 {
                    return None;
                }
                Some(distance(self.center, point))
            }
        }
    }

    /// Returns the rectangle that encloses it, on the side of the equator where its center is.
    fn bounds(&self) -> Area {
        let (width, height) = match self.extent {
            Extent::Circle(radius) => (radius, radius),
            Extent::Box(width, height) => (width / 2.0, height / 2.0),
        };
        let Point { longitude, latitude } = self.center;
        let north = self.meters * height / EARTH_RADIUS / RADIANS;
        // Towards the pole a degree of longitude is shorter.
        let far = if latitude < 0.0 { latitude - north } else { latitude + north };
        let east = self.meters * width / EARTH_RADIUS / (far * RADIANS).cos() / RADIANS;
        Area {
            longitude: Span { min: longitude - east, max: longitude + east },
            latitude: Span { min: latitude - north, max: latitude + north },
        }
    }

    /// Returns how often a cell of about its size was halved.
    fn steps(&self) -> u32 {
        let mut meters = self.meters
            * match self.extent {
                Extent::Circle(radius) => radius,
                Extent::Box(width, height) => {
                    ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
                }
            };
        if meters == 0.0 {
            return STEPS_MAX;
        }
        let mut steps = 1_i32;
        while meters < MERCATOR_MAX {
            meters *= 2.0;
            steps += 1;
        }
        let latitude = self.center.latitude.abs();
        steps -= 2 + i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, STEPS_MAX as i32) as u32
    }

    /// Returns cells that cover it, in the order in which they are searched: its center's, and those around that are needed.
    pub fn cells(&self) -> Vec<Cell> {
        let bounds = self.bounds();
        let mut steps = self.steps();
        let mut center = Cell::of(self.center, steps, LATITUDES);
        let is_covered = |cell: Cell| {
            cell.beside(0, 1).area().latitude.max >= bounds.latitude.max
                && cell.beside(0, -1).area().latitude.min <= bounds.latitude.min
                && cell.beside(1, 0).area().longitude.max >= bounds.longitude.max
                && cell.beside(-1, 0).area().longitude.min <= bounds.longitude.min
        };
        if steps > 1 && !is_covered(center) {
            steps -= 1;
            center = Cell::of(self.center, steps, LATITUDES);
        }
        let area = center.area();
        let is_needed = |east: i32, north: i32| {
            steps < 2
                || !(north < 0 && area.latitude.min < bounds.latitude.min
                    || north > 0 && area.latitude.max > bounds.latitude.max
                    || east < 0 && area.longitude.min < bounds.longitude.min
                    || east > 0 && area.longitude.max > bounds.longitude.max)
        };
        const AROUND: [(i32, i32); 8] =
            [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut cells = vec![center];
        for (east, north) in AROUND {
            let cell = center.beside(east, north);
            // Of a map of a few cells a neighbour may be the one before; that it may be the center, too, is not looked at.
            let is_again = cells.len() > 1 && cells.last() == Some(&cell);
            if is_needed(east, north) && !is_again {
                cells.push(cell);
            }
        }
        cells
    }
}
