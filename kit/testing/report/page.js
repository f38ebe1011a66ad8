// Reading needs no script. With one, the matrix can be narrowed to an ending.
for (const matrix of document.querySelectorAll("[data-matrix]")) {
  const legend = matrix.previousElementSibling;
  const cells = matrix.querySelectorAll("td[data-endings]");
  for (const chip of legend.querySelectorAll(".chip")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = chip.className;
    button.append(...chip.childNodes);
    button.setAttribute("aria-pressed", "false");
    chip.replaceWith(button);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      for (const other of legend.querySelectorAll("button")) other.setAttribute("aria-pressed", String(on && other === button));
      for (const cell of cells) {
        cell.classList.toggle("dim", on && !cell.dataset.endings.split(" ").includes(button.dataset.ending ?? button.className.split(" ")[1]));
      }
    });
  }
}
