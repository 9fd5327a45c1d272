//! A model of a plain background: a colour that changes slowly over the picture, as the light does.

use std::mem;

use super::Field;
use crate::oklab::{Lab, distance, distance_squared};

/// Terms of the surface fitted to a colour channel: 1, x, y, x², xy, y².
const TERMS: usize = 6;
/// Minimum share of the border that must be background. The rest may be a garment that extends beyond the picture.
const LEAST_BORDER: f64 = 0.7;
/// Largest median deviation of a plain background from the fitted surface.
const MOST_NOISE: f32 = 0.022;
/// Most stretches of the border that may be something else; more indicate a pattern rather than a garment.
const MOST_STRETCHES: usize = 8;
/// Largest decrease in lightness that still counts as shadow.
const DARKER: f32 = 0.35;
/// Largest increase in brightness that still counts as light.
const BRIGHTER: f32 = 0.12;

/// A plain background.
pub struct Backdrop {
    surface: Surface,
    /// Median deviation of its pixels from the surface.
    pub noise: f32,
    /// Largest change per pixel that counts as shading rather than an edge.
    pub most_change: f32,
}

impl Backdrop {
    /// Finds the background from the border of a picture; `None` if it is not plain.
    pub fn find(field: &Field) -> Option<Self> {
        let border = border(field);
        let colours: Vec<Lab> = border.iter().map(|(x, y)| field.at(*x, *y)).collect();
        let typical: Lab = [0, 1, 2].map(|channel| median(colours.iter().map(|colour| colour[channel]).collect()));
        let mut chosen: Vec<bool> = colours.iter().map(|colour| distance(*colour, typical) < 0.15).collect();
        let mut surface = Surface { width: field.width, height: field.height, terms: [[0.0; 3]; TERMS] };
        let mut noise = 0.0;
        for _ in 0..5 {
            let points = border.iter().zip(&colours).zip(&chosen);
            let points = points.filter(|(_, chosen)| **chosen).map(|((place, colour), _)| (*place, *colour));
            surface.fit(points)?;
            let errors: Vec<f32> =
                border.iter().zip(&colours).map(|(place, colour)| distance(surface.at(*place), *colour)).collect();
            let inside = errors.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(error, _)| *error);
            noise = median(inside.collect());
            let most = (3.5 * noise).clamp(0.025, 0.08);
            let before = mem::replace(&mut chosen, errors.iter().map(|error| *error < most).collect());
            // Another round would fit the same surface.
            if chosen == before {
                break;
            }
        }
        let share = chosen.iter().filter(|chosen| **chosen).count() as f64 / chosen.len() as f64;
        let change = border.iter().zip(&chosen).filter(|(_, chosen)| **chosen);
        let change = median(change.map(|((x, y), _)| field.change(*x, *y)).collect());
        let backdrop = Self { surface, noise, most_change: (0.008 + 3.0 * change).min(0.03) };
        let is_plain = share >= LEAST_BORDER && noise <= MOST_NOISE && backdrop.stretches(field) <= MOST_STRETCHES;
        is_plain.then_some(backdrop)
    }

    /// Determines which pixels of a row have the background's colour, and which have it in another light.
    pub fn compare(&self, field: &Field, y: usize, has_colour: &mut [bool], has_shade: &mut [bool]) {
        let paint = self.surface.row(y);
        let [lightness, a, b] = field.row(y);
        let colours = lightness.iter().zip(a).zip(b).map(|((lightness, a), b)| [*lightness, *a, *b]);
        for (x, ((has_colour, has_shade), colour)) in has_colour.iter_mut().zip(has_shade).zip(colours).enumerate() {
            let paint = paint(x);
            *has_colour = self.is_same(colour, paint);
            *has_shade = self.is_shade(colour, paint);
        }
    }

    /// Whether a colour equals the background's colour at this point.
    fn is_same(&self, colour: Lab, paint: Lab) -> bool {
        distance_squared(colour, paint) <= (0.018 + 3.0 * self.noise).min(0.06).powi(2)
    }

    /// Whether a colour is the background's in another light. Less light on the same surface scales all three values.
    fn is_shade(&self, colour: Lab, paint: Lab) -> bool {
        let light = colour[0] / paint[0].max(0.05);
        let tint = (colour[1] - light * paint[1]).powi(2) + (colour[2] - light * paint[2]).powi(2);
        (colour[0] >= paint[0] - DARKER) & (colour[0] < paint[0] + BRIGHTER) & (tint <= (0.02 + self.noise).powi(2))
    }

    /// Counts the stretches of the outermost rows and columns that are not background.
    fn stretches(&self, field: &Field) -> usize {
        let (right, bottom) = (field.width - 1, field.height - 1);
        let around = (0..right)
            .map(|x| (x, 0))
            .chain((0..bottom).map(|y| (right, y)))
            .chain((0..right).map(|x| (right - x, bottom)))
            .chain((0..bottom).map(|y| (0, bottom - y)));
        let is_other = |place: (usize, usize)| {
            let (colour, paint) = (field.at(place.0, place.1), self.surface.at(place));
            !self.is_same(colour, paint) && !self.is_shade(colour, paint)
        };
        let others: Vec<bool> = around.map(is_other).collect();
        // Ignore single pixels.
        others.windows(3).filter(|three| three[1] && three[2] && !three[0]).count()
    }
}

/// A slowly changing colour.
struct Surface {
    width: usize,
    height: usize,
    terms: [Lab; TERMS],
}

impl Surface {
    fn powers(&self, (x, y): (usize, usize)) -> [f32; TERMS] {
        let x = x as f32 / self.width as f32 * 2.0 - 1.0;
        let y = y as f32 / self.height as f32 * 2.0 - 1.0;
        [1.0, x, y, x * x, x * y, y * y]
    }

    fn at(&self, (x, y): (usize, usize)) -> Lab {
        self.row(y)(x)
    }

    /// The colours along a row.
    fn row(&self, y: usize) -> impl Fn(usize) -> Lab {
        let width = self.width as f32;
        let y = y as f32 / self.height as f32 * 2.0 - 1.0;
        let along = [0, 1, 2].map(|channel| {
            let [one, x, by_y, x_x, x_y, y_y] = self.terms.map(|term| term[channel]);
            [one + y * (by_y + y * y_y), x + y * x_y, x_x]
        });
        move |x| {
            let x = x as f32 / width * 2.0 - 1.0;
            along.map(|[one, by_x, x_x]| one + x * (by_x + x * x_x))
        }
    }

    /// Fits the surface to points by least squares; `None` if they do not determine it.
    fn fit(&mut self, points: impl Iterator<Item = ((usize, usize), Lab)>) -> Option<()> {
        // Normal equations, with the three channels on the right-hand side.
        let mut rows = [[0.0_f64; TERMS + 3]; TERMS];
        let mut count = 0_usize;
        for (place, colour) in points {
            let powers = self.powers(place);
            for (row, power) in rows.iter_mut().zip(&powers) {
                for (cell, other) in row.iter_mut().zip(powers.iter().chain(&colour)) {
                    *cell += f64::from(power * other);
                }
            }
            count += 1;
        }
        if count < 10 * TERMS {
            return None;
        }
        for (number, row) in rows.iter_mut().enumerate().skip(1) {
            // Slight regularisation, so that points on one side only do not bend it wildly elsewhere.
            row[number] += count as f64 * 1e-4;
        }
        for pivot in 0..TERMS {
            let best = (pivot..TERMS).max_by(|one, two| rows[*one][pivot].abs().total_cmp(&rows[*two][pivot].abs()))?;
            rows.swap(pivot, best);
            let scale = rows[pivot][pivot];
            if scale.abs() < 1e-9 {
                return None;
            }
            let solved = rows[pivot].map(|cell| cell / scale);
            rows[pivot] = solved;
            for (number, row) in rows.iter_mut().enumerate() {
                if number != pivot {
                    let factor = row[pivot];
                    for (cell, solved) in row.iter_mut().zip(&solved) {
                        *cell -= factor * solved;
                    }
                }
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "terms of a colour need no more")]
        let terms = rows.map(|row| [row[TERMS] as f32, row[TERMS + 1] as f32, row[TERMS + 2] as f32]);
        self.terms = terms;
        Some(())
    }
}

/// Returns every point within a band along the border.
fn border(field: &Field) -> Vec<(usize, usize)> {
    let (width, height) = (field.width, field.height);
    let band = (width.min(height) / 50).max(2);
    let mut places = Vec::new();
    for y in 0..height {
        if y < band || y >= height - band {
            places.extend((0..width).map(|x| (x, y)));
        } else {
            places.extend((0..band).map(|x| (x, y)));
            places.extend((width - band..width).map(|x| (x, y)));
        }
    }
    places
}

/// Returns the median; 0 if empty.
fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(middle, f32::total_cmp).1 }
}
