// Draws the figures from the JSON beside them, in the colours of the page, and again when these change.
(function () {
  "use strict";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function coloured(layout) {
    const ink = dark.matches ? "#ececec" : "#1b1b1b", grid = dark.matches ? "#3a3f47" : "#dddddd";
    const axis = { color: ink, gridcolor: grid, zerolinecolor: grid };
    const result = Object.assign({}, layout, { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" });
    result.font = Object.assign({}, layout.font, { color: ink });
    for (const name of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(name)) result[name] = Object.assign({}, layout[name], axis);
    }
    for (const name of ["xaxis", "yaxis"]) if (!(name in layout)) result[name] = Object.assign({}, axis);
    if (layout.scene) {
      result.scene = Object.assign({}, layout.scene);
      for (const name of ["xaxis", "yaxis", "zaxis"]) {
        result.scene[name] = Object.assign({}, layout.scene[name], axis, { backgroundcolor: "rgba(0,0,0,0)" });
      }
    }
    return result;
  }
  function draw() {
    for (const place of document.querySelectorAll(".plot")) {
      const drawing = JSON.parse(document.getElementById(place.id + "-data").textContent);
      const config = { responsive: true, displayModeBar: false };
      Plotly.react(place, { data: drawing.data, layout: coloured(drawing.layout), frames: drawing.frames, config });
    }
  }
  draw();
  dark.addEventListener("change", draw);
})();
