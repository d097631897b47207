//! Clinical reports of oncograph models as one self-contained HTML file.
