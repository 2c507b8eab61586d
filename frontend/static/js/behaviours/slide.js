// A range input that steps through data-values and writes them into the field that data-for names.
import { all, on } from "../lib/dom.js";

/** @param {HTMLInputElement} element */
export function mount(element) {
  const field = /** @type {HTMLInputElement} */ (document.getElementById(element.dataset.for ?? ""));
  const values = (element.dataset.values ?? "").split(",");
  const show = () => {
    const said = field.value === "" ? -Infinity : Number(field.value);
    const above = values.findIndex((one) => one !== "" && Number(one) >= said);
    element.value = String(said === -Infinity ? 0 : above < 0 ? values.length - 1 : above);
    element.setAttribute("aria-valuetext", field.value || field.placeholder);
  };
  element.min = "0";
  element.max = String(values.length - 1);
  element.step = "1";
  show();
  return all([
    on(field, "input", show),
    on(element, "input", () => {
      field.value = values[Number(element.value)] ?? "";
      element.setAttribute("aria-valuetext", field.value || field.placeholder);
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }),
  ]);
}
