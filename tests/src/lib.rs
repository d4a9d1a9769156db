//! Tests of the workspace as a whole: what no single crate can promise.

#[cfg(test)]
mod edges;
#[cfg(test)]
mod tidy;
