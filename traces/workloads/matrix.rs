//! Matrix product: f64, naive and blocked, on matrices that are parts of wider ones.
//!
//! Stresses floating-point multiplies and adds: one at a time in the naive product, two at a time (SSE2) in the
//! blocked one. Each row has a page to itself, as rows of a matrix with 512 columns do. The naive product walks down a
//! column of the right factor, a page for each element and 72 pages before the first comes round again, which
//! defeats a first-level TLB of 64 entries; the blocked one stays on a row and on few pages. The same arithmetic in
//! two orders, and only one of them is kind to the TLB.
//!
//! Prints `matrix 4a2039050d601d2d`.

/// Rows of the left factor, the length that both share, and columns of the right factor.
const ROWS: usize = 32;
const INNER: usize = 72;
const COLUMNS: usize = 32;

/// Elements from one row to the next: one page.
const PITCH: usize = 512;

/// Rows of the right factor that the blocked product uses again before it goes on.
const BLOCK: usize = 12;

/// Knuth's MMIX linear congruential generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

struct Matrix(Vec<f64>);

impl Matrix {
    fn zero(rows: usize) -> Self {
        Self(vec![0.0; rows * PITCH])
    }

    /// Multiples of a quarter from -2 to 2: sums of their products are exact, and compress well in a trace.
    fn random(random: &mut Random, rows: usize, columns: usize) -> Self {
        let mut matrix = Self::zero(rows);
        for row in 0..rows {
            matrix.row_mut(row, columns).fill_with(|| random.below(17) as f64 / 4.0 - 2.0);
        }
        matrix
    }

    fn row(&self, row: usize, columns: usize) -> &[f64] {
        &self.0[row * PITCH..][..columns]
    }

    fn row_mut(&mut self, row: usize, columns: usize) -> &mut [f64] {
        &mut self.0[row * PITCH..][..columns]
    }

    fn column(&self, column: usize) -> impl Iterator<Item = &f64> {
        self.0[column..].iter().step_by(PITCH)
    }
}

/// Row times column, element by element.
fn naive(left: &Matrix, right: &Matrix) -> Matrix {
    let mut product = Matrix::zero(ROWS);
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let pairs = left.row(row, INNER).iter().zip(right.column(column));
            product.row_mut(row, COLUMNS)[column] = pairs.fold(0.0, |sum, (l, r)| sum + l * r);
        }
    }
    product
}

/// A block of rows of the right factor at a time, each added in whole to a row of the product.
fn blocked(left: &Matrix, right: &Matrix) -> Matrix {
    let mut product = Matrix::zero(ROWS);
    for block in (0..INNER).step_by(BLOCK) {
        for row in 0..ROWS {
            let sums = product.row_mut(row, COLUMNS);
            for inner in block..INNER.min(block + BLOCK) {
                let factor = left.row(row, INNER)[inner];
                for (sum, element) in sums.iter_mut().zip(right.row(inner, COLUMNS)) {
                    *sum += factor * element;
                }
            }
        }
    }
    product
}

fn main() {
    let mut random = Random(4);
    let left = Matrix::random(&mut random, ROWS, INNER);
    let right = Matrix::random(&mut random, INNER, COLUMNS);
    let (naive, blocked) = (naive(&left, &right), blocked(&left, &right));
    let mut sum = 0_u64;
    for row in 0..ROWS {
        // Both are exact, so that they agree to the last bit.
        assert!(naive.row(row, COLUMNS) == blocked.row(row, COLUMNS), "the two products differ in row {row}");
        sum =
            blocked.row(row, COLUMNS).iter().fold(sum, |sum, element| sum.rotate_left(7) ^ element.to_bits());
    }
    println!("matrix {sum:016x}");
}
