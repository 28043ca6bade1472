package plots

import (
	"bytes"
	"fmt"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	width, height = 445, 330 // in points, without the legend
	legendWidth   = 175      // minimum
	thumbWidth    = 40       // for a line of the legend and the space around it
	textSize      = 10
)

// colors are the line colors. They can be told apart with color blindness, and work on both white and black. (Okabe and Ito)
var colors = []color.Color{
	color.RGBA{0x00, 0x72, 0xB2, 0xFF}, color.RGBA{0xE6, 0x9F, 0x00, 0xFF}, color.RGBA{0x00, 0x9E, 0x73, 0xFF},
	color.RGBA{0xCC, 0x79, 0xA7, 0xFF}, color.RGBA{0xD5, 0x5E, 0x00, 0xFF}, color.RGBA{0x56, 0xB4, 0xE9, 0xFF},
}

// grey is the color of axes and limits. It works on both white and black.
var grey = color.RGBA{0x80, 0x80, 0x80, 0xFF}

var dashes = [][]vg.Length{nil, {6, 3}, {2, 2}}

// figure is a plot with its legend beside it.
type figure struct {
	*plot.Plot
	lines  int
	legend vg.Length // its width
}

func newFigure(title, x, y string) *figure {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = 6
	sans := font.Font{Typeface: "Liberation", Variant: "Sans", Size: textSize}
	p.Title.TextStyle.Font, p.X.Label.TextStyle.Font, p.Y.Label.TextStyle.Font = sans, sans, sans
	p.X.Tick.Label.Font, p.Y.Tick.Label.Font, p.Legend.TextStyle.Font = sans, sans, sans
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color, axis.Tick.Color = grey, grey
	}
	p.Legend.Left, p.Legend.Top, p.Legend.Padding = true, true, 4
	grid := plotter.NewGrid()
	faint := color.NRGBA{0x80, 0x80, 0x80, 0x40}
	grid.Horizontal.Color, grid.Vertical.Color = faint, faint
	p.Add(grid)
	return &figure{Plot: p, legend: legendWidth}
}

// entry adds a line to the legend.
func (f *figure) entry(name string, thumbs ...plot.Thumbnailer) {
	f.legend = max(f.legend, f.Legend.TextStyle.Width(name)+thumbWidth)
	f.Legend.Add(name, thumbs...)
}

// next returns the style of the next line.
func (f *figure) next() draw.LineStyle {
	i := f.lines
	f.lines++
	return draw.LineStyle{Color: colors[i%len(colors)], Width: 1.5, Dashes: dashes[i/len(colors)%len(dashes)]}
}

// theme makes text follow the reader's theme (grey if the viewer has none), and names fonts with the same widths for other
// systems. Lines and axes are visible in every theme.
const theme = `<style>text{fill:#808080;font-family:"Liberation Sans",Arial,Helvetica,sans-serif!important}` +
	`@media(prefers-color-scheme:light){text{fill:#24292f}}@media(prefers-color-scheme:dark){text{fill:#d0d7de}}</style>`

// write draws the figure, with the legend on its right.
func (f *figure) write(path string) error {
	canvas := vgsvg.New(width+f.legend, height)
	whole := draw.New(canvas)
	legend := f.Legend
	f.Legend = plot.NewLegend()
	f.Draw(draw.Crop(whole, 0, -f.legend, 0, 0))
	legend.Draw(draw.Crop(whole, width+10, 0, 0, -20))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	head, rest, ok := bytes.Cut(b.Bytes(), []byte("xlink\">\n"))
	if !ok {
		return fmt.Errorf("draw %s: the library writes SVG in another form than it did", path)
	}
	return os.WriteFile(path, bytes.Join([][]byte{head, []byte("xlink\">\n" + theme + "\n"), rest}, nil), 0o644)
}
