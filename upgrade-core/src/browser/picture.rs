//! Pictures of pages, compared pixel by pixel.

use std::collections::BTreeSet;
use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{ImageError, ImageFormat, Rgba, RgbaImage};

/// The side of the squares by which regions are found, in pixels.
const TILE: u32 = 8;

const RED: Rgba<u8> = Rgba([220, 20, 60, 255]);

/// Between the pictures that stand side by side.
const GAP: u32 = 8;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Picture(RgbaImage);

/// Squares of a picture, by column and row.
pub(super) type Tiles = BTreeSet<(u32, u32)>;

/// A region of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Region {
    /// The squares that it touches.
    pub(super) fn tiles(self) -> impl Iterator<Item = (u32, u32)> {
        let (right, bottom) = ((self.x + self.width) / TILE, (self.y + self.height) / TILE);
        (self.y / TILE..=bottom).flat_map(move |y| (self.x / TILE..=right).map(move |x| (x, y)))
    }
}

impl std::fmt::Display for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            x,
            y,
            width,
            height,
        } = self;
        write!(f, "{width} x {height} at {x}, {y}")
    }
}

/// Where two pictures differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// How many pixels differ.
    pub(super) pixels: u64,
    tiles: Tiles,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.0.width(), self.0.height())
    }
}

impl Picture {
    pub(super) fn read(png: &[u8]) -> Result<Self, ImageError> {
        Ok(Self(
            image::load_from_memory_with_format(png, ImageFormat::Png)?.into_rgba8(),
        ))
    }

    /// The pixels that differ, but for those in squares that are left out. A pixel that only one of the
    /// pictures has differs.
    pub(super) fn difference(&self, other: &Self, without: &Tiles) -> Difference {
        let (one, two) = (&self.0, &other.0);
        let mut difference = Difference::default();
        let (width, rows) = (one.width().max(two.width()), one.height().max(two.height()));
        for y in 0..rows {
            // Most rows are equal, and as a whole they are compared fast.
            if row(one, y) == row(two, y) {
                continue;
            }
            for x in 0..width {
                let tile = (x / TILE, y / TILE);
                if one.get_pixel_checked(x, y) != two.get_pixel_checked(x, y)
                    && !without.contains(&tile)
                {
                    difference.pixels += 1;
                    difference.tiles.insert(tile);
                }
            }
        }
        difference
    }

    /// This picture, another one, and the other one with its differences in red, side by side. Made
    /// smaller by halves until it has at most that many bytes.
    pub(super) fn beside(
        &self,
        other: &Self,
        difference: &Difference,
        at_most: usize,
    ) -> Result<Vec<u8>, ImageError> {
        let width = self.0.width().max(other.0.width());
        let height = self.0.height().max(other.0.height());
        let mut all = RgbaImage::from_pixel(3 * width + 2 * GAP, height, Rgba([96, 96, 96, 255]));
        imageops::replace(&mut all, &self.0, 0, 0);
        imageops::replace(&mut all, &other.0, i64::from(width + GAP), 0);
        let mut marked = imageops::grayscale_with_type::<Rgba<u8>, _>(&other.0);
        for (x, y, pixel) in marked.enumerate_pixels_mut() {
            let differs = self.0.get_pixel_checked(x, y) != other.0.get_pixel_checked(x, y);
            if differs && difference.tiles.contains(&(x / TILE, y / TILE)) {
                *pixel = RED;
            }
        }
        for region in difference.regions() {
            outline(&mut marked, region);
        }
        imageops::replace(&mut all, &marked, i64::from(2 * (width + GAP)), 0);
        loop {
            let png = Self(all.clone()).png()?;
            if png.len() <= at_most || all.width() < 64 {
                return Ok(png);
            }
            all = imageops::resize(
                &all,
                all.width() / 2,
                (all.height() / 2).max(1),
                FilterType::Triangle,
            );
        }
    }

    pub(super) fn png(&self) -> Result<Vec<u8>, ImageError> {
        let mut png = Cursor::new(Vec::new());
        self.0.write_to(&mut png, ImageFormat::Png)?;
        Ok(png.into_inner())
    }
}

impl Difference {
    /// The squares that differ and those around them: what moves by a pixel stays inside.
    pub(super) fn tiles_around(&self) -> Tiles {
        let near = |at: u32| at.saturating_sub(1)..=at + 1;
        let around = self
            .tiles
            .iter()
            .flat_map(|(x, y)| near(*y).flat_map(move |y| near(*x).map(move |x| (x, y))));
        around.collect()
    }

    /// Regions of squares that touch each other, from the top.
    pub(super) fn regions(&self) -> Vec<Region> {
        let mut rest = self.tiles.clone();
        let mut regions = Vec::new();
        while let Some(first) = rest.pop_first() {
            let (mut left, mut top, mut right, mut bottom) = (first.0, first.1, first.0, first.1);
            let mut open = vec![first];
            while let Some((x, y)) = open.pop() {
                (left, right) = (left.min(x), right.max(x));
                (top, bottom) = (top.min(y), bottom.max(y));
                for near_y in y.saturating_sub(1)..=y + 1 {
                    for near_x in x.saturating_sub(1)..=x + 1 {
                        open.extend(rest.take(&(near_x, near_y)));
                    }
                }
            }
            regions.push(Region {
                x: left * TILE,
                y: top * TILE,
                width: (right - left + 1) * TILE,
                height: (bottom - top + 1) * TILE,
            });
        }
        regions.sort_by_key(|region| (region.y, region.x));
        regions
    }
}

/// The bytes of a row; `None` below the picture.
fn row(picture: &RgbaImage, y: u32) -> Option<&[u8]> {
    let length = picture.width() as usize * 4;
    let start = y as usize * length;
    picture
        .as_raw()
        .get(start..start + length)
        .filter(|row| !row.is_empty())
}

fn outline(picture: &mut RgbaImage, region: Region) {
    let Region {
        x,
        y,
        width,
        height,
    } = region;
    let (right, bottom) = (x + width - 1, y + height - 1);
    let across = (x..=right).flat_map(|at| [(at, y), (at, bottom)]);
    let down = (y..=bottom).flat_map(|at| [(x, at), (right, at)]);
    for (x, y) in across.chain(down) {
        if let Some(pixel) = picture.get_pixel_mut_checked(x, y) {
            *pixel = RED;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn white(width: u32, height: u32) -> Picture {
        Picture(RgbaImage::from_pixel(width, height, Rgba([255; 4])))
    }

    fn with(points: &[(u32, u32)]) -> Picture {
        let mut picture = white(64, 48);
        for (x, y) in points {
            picture.0.put_pixel(*x, *y, Rgba([0, 0, 0, 255]));
        }
        picture
    }

    #[test]
    fn pixels_are_counted_exactly_and_regions_found() {
        let difference = with(&[]).difference(&with(&[(1, 1), (9, 9), (40, 30)]), &Tiles::new());
        assert_eq!(difference.pixels, 3);
        let regions: Vec<String> = difference
            .regions()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(regions, ["16 x 16 at 0, 0", "8 x 8 at 40, 24"]);
    }

    #[test]
    fn a_picture_of_another_size_differs_where_only_one_has_pixels() {
        let difference = white(10, 10).difference(&white(12, 9), &Tiles::new());
        assert_eq!(difference.pixels, 10 + 2 * 9);
    }

    #[test]
    fn three_pictures_stand_side_by_side() {
        let (one, two) = (with(&[]), with(&[(1, 1)]));
        let difference = one.difference(&two, &Tiles::new());
        let all = Picture::read(&one.beside(&two, &difference, usize::MAX).unwrap()).unwrap();
        assert_eq!(all.0.dimensions(), (3 * 64 + 16, 48));
        assert_eq!(*all.0.get_pixel(72 + 1, 1), Rgba([0, 0, 0, 255]));
        assert_eq!(*all.0.get_pixel(144 + 1, 1), RED);
        assert_eq!(*all.0.get_pixel(144 + 30, 30), Rgba([255; 4]));
        let full = one.beside(&two, &difference, usize::MAX).unwrap();
        let small = one.beside(&two, &difference, full.len() - 1).unwrap();
        assert_eq!(Picture::read(&small).unwrap().0.width(), 104);
    }

    fn points() -> impl Strategy<Value = Vec<(u32, u32)>> {
        proptest::collection::vec((0_u32..64, 0_u32..48), 0..20)
    }

    proptest! {
        #[test]
        fn a_difference_is_symmetric_and_what_two_olds_differ_in_is_left_out(one in points(), two in points()) {
            let (one, two) = (with(&one), with(&two));
            let difference = one.difference(&two, &Tiles::new());
            prop_assert_eq!(&difference, &two.difference(&one, &Tiles::new()));
            prop_assert_eq!(difference.pixels == 0, one == two);
            prop_assert_eq!(one.difference(&two, &difference.tiles_around()).pixels, 0);
            prop_assert_eq!(Picture::read(&one.png().unwrap()).unwrap(), one);
        }

        #[test]
        fn every_pixel_that_differs_lies_in_one_region(one in points()) {
            let difference = with(&[]).difference(&with(&one), &Tiles::new());
            let regions = difference.regions();
            for (x, y) in one {
                let inside = regions.iter().filter(|region| {
                    (region.x..region.x + region.width).contains(&x)
                        && (region.y..region.y + region.height).contains(&y)
                });
                prop_assert!(inside.count() >= 1);
            }
        }
    }
}
