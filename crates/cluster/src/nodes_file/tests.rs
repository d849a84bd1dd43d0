//! Files that stock servers wrote, and files with one thing wrong.
