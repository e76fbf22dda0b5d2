//! Boxes, collections and files; roots of cells and boxes.

mod acl;
mod at_rest;
mod collections;
mod files;
mod listing;
mod moving;
mod properties;
mod removal;
mod roots;
mod uploads;
