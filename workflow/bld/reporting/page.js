// A click on a heading sorts its table by that column: downwards first where it holds numbers, then the other way.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  table.tHead.addEventListener("click", (event) => {
    const heading = event.target.closest("button")?.parentElement;
    if (!heading) return;
    const isNumber = heading.classList.contains("number");
    const before = heading.ariaSort ?? (isNumber ? "ascending" : "descending");
    const direction = before === "ascending" ? "descending" : "ascending";
    for (const other of heading.parentElement.cells) other.ariaSort = null;
    heading.ariaSort = direction;
    const sign = direction === "ascending" ? 1 : -1;
    const key = (row) => row.cells[heading.cellIndex].dataset.key;
    const inOrder = (one, other) =>
      isNumber ? Number(one) - Number(other) : one.localeCompare(other, "en", { numeric: true });
    // Cells without a value stay below, whichever way.
    const rows = [...body.rows].sort((one, other) =>
      (key(one) === "") - (key(other) === "") || sign * inOrder(key(one), key(other)));
    body.append(...rows);
  });
}
