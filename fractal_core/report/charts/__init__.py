"""Small charts as inline SVG; colours, widths and fonts are the style sheet's."""
