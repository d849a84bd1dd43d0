//! Positions as scores, and cells of the map.
//!
//! The map is halved 26 times from west to east and from south to north. Each time a bit says in which half a position is; these
//! 52 bits by turns, longitude first, are a score. A cell of fewer bits has the positions whose scores begin with them: so a
//! cell is a range of scores.
//!
//! ```text
//!   latitude   ┌─────┬─────┐
//!      85.05…  │ 01  │ 11  │      a cell after one halving: a bit of longitude, one of latitude
//!              ├─────┼─────┤
//!     -85.05…  │ 00  │ 10  │
//!              └─────┴─────┘
//!            -180         180  longitude
//! ```

/// Number of halvings of a score.
pub const STEPS_MAX: u32 = 26;

/// What the numbers of a dimension are between.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

/// Longitudes, in degrees.
pub const LONGITUDES: Span = Span { min: -180.0, max: 180.0 };

/// Latitudes of the map, in degrees: those of the web's maps (EPSG:3857).
pub const LATITUDES: Span = Span { min: -85.051_128_78, max: 85.051_128_78 };

/// All latitudes, as geohashes divide them.
pub const ALL_LATITUDES: Span = Span { min: -90.0, max: 90.0 };

/// A position, in degrees.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// From west to east.
    pub longitude: f64,
    /// From south to north.
    pub latitude: f64,
}

/// A rectangle of the map.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// From west to east.
    pub longitude: Span,
    /// From south to north.
    pub latitude: Span,
}

/// A cell: its bits, and how often it was halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Latitude in the even bits, longitude in the odd ones.
    pub bits: u64,
    /// The number of halvings.
    pub steps: u32,
}

impl Span {
    /// Whether a number is within.
    pub fn contains(self, value: f64) -> bool {
        self.min <= value && value <= self.max
    }

    /// Returns the number of the part in which a value is, of 2^steps.
    fn part_of(self, value: f64, steps: u32) -> u32 {
        ((value - self.min) / (self.max - self.min) * (1_u64 << steps) as f64) as u32
    }

    /// Returns the part with a number, of 2^steps.
    fn part(self, number: u32, steps: u32) -> Span {
        let at = |number: u32| {
            self.min + (f64::from(number) / (1_u64 << steps) as f64) * (self.max - self.min)
        };
        Span { min: at(number), max: at(number.wrapping_add(1)) }
    }

    fn middle(self) -> f64 {
        (self.min + self.max) / 2.0
    }
}

/// Shifts and masks by which the bits of a number are moved apart, each time half as far.
const SPREAD: [(u32, u64); 5] = [
    (16, 0x0000_ffff_0000_ffff),
    (8, 0x00ff_00ff_00ff_00ff),
    (4, 0x0f0f_0f0f_0f0f_0f0f),
    (2, 0x3333_3333_3333_3333),
    (1, 0x5555_5555_5555_5555),
];

/// Moves the bits of a number to the even places.
fn spread(number: u32) -> u64 {
    SPREAD.iter().fold(u64::from(number), |bits, (shift, mask)| (bits | bits << shift) & mask)
}

/// Returns the number whose bits are in the even places.
fn gather(bits: u64) -> u32 {
    let inverse = SPREAD.iter().rev();
    let packed = inverse.fold(bits, |bits, (shift, mask)| {
        let bits = bits & mask;
        bits | bits >> shift
    });
    packed as u32
}

impl Cell {
    /// Returns the cell of a position.
    pub fn of(point: Point, steps: u32, latitudes: Span) -> Cell {
        let latitude = latitudes.part_of(point.latitude, steps);
        let longitude = LONGITUDES.part_of(point.longitude, steps);
        Cell { bits: spread(latitude) | spread(longitude) << 1, steps }
    }

    /// Returns its rectangle.
    pub fn area(self) -> Area {
        Area {
            longitude: LONGITUDES.part(gather(self.bits >> 1), self.steps),
            latitude: LATITUDES.part(gather(self.bits), self.steps),
        }
    }

    /// Returns the cell that is so many cells to the east and to the north. The map has no edges.
    pub fn beside(self, east: i32, north: i32) -> Cell {
        let mask = ((1_u64 << self.steps) - 1) as u32;
        let moved = |number: u32, by: i32| spread(number.wrapping_add_signed(by) & mask);
        let (latitude, longitude) = (gather(self.bits), gather(self.bits >> 1));
        Cell { bits: moved(latitude, north) | moved(longitude, east) << 1, steps: self.steps }
    }

    /// Returns the scores of its positions: the lowest one, and the one behind the highest.
    pub fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEPS_MAX - self.steps);
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }
}

/// Returns the score of a position.
pub fn score_of(point: Point) -> u64 {
    Cell::of(point, STEPS_MAX, LATITUDES).bits
}

/// Returns the position of a score, the middle of its cell. Any score has one.
pub fn point_of(score: f64) -> Point {
    // As C converts it: a negative one by way of a signed number.
    let bits = if score < 0.0 { score as i64 as u64 } else { score as u64 };
    let Area { longitude, latitude } = Cell { bits, steps: STEPS_MAX }.area();
    Point {
        longitude: longitude.middle().clamp(LONGITUDES.min, LONGITUDES.max),
        latitude: latitude.middle().clamp(LATITUDES.min, LATITUDES.max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_moved_apart_and_back() {
        for number in [0, 1, 2, 0x8000_0000, 0xffff_ffff, 0x1234_5678] {
            assert_eq!(gather(spread(number)), number);
            assert_eq!(gather(spread(number) | 0xaaaa_aaaa_aaaa_aaaa), number);
        }
        assert_eq!(spread(0b1011), 0b100_0101);
    }

    #[test]
    fn a_position_is_in_its_cell_and_in_no_other_one() {
        let point = Point { longitude: 13.361_389, latitude: 38.115_556 };
        assert_eq!(score_of(point), 3_479_099_956_230_698);
        for steps in 1..=STEPS_MAX {
            let cell = Cell::of(point, steps, LATITUDES);
            let (low, end) = cell.scores();
            assert!((low..end).contains(&(score_of(point) as f64)));
            let area = cell.area();
            assert!(
                area.longitude.contains(point.longitude) && area.latitude.contains(point.latitude)
            );
            assert_eq!(cell.beside(1, -1).beside(-1, 1), cell);
            let round = (0..4).fold(cell, |cell, _| cell.beside(1 << (steps - 1), 0));
            assert_eq!(round, cell, "around the world, twice");
        }
    }

    #[test]
    fn any_score_has_a_position() {
        for score in [0.0, -1.0, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY, 4.5e15, 1e19] {
            let Point { longitude, latitude } = point_of(score);
            assert!(LONGITUDES.contains(longitude) && LATITUDES.contains(latitude), "{score}");
        }
    }
}
