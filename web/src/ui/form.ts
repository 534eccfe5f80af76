import type { SubmitEvent } from "react";

export const valueOf = (form: HTMLFormElement, name: string): string => {
  const value = new FormData(form).get(name);
  return typeof value === "string" ? value : "";
};

/** What is wrong with which field, before anything is sent; the first of them gets the focus. Null when nothing is. */
export function mistakesIn(
  form: HTMLFormElement,
  own: Readonly<Record<string, string | false>> = {},
): Record<string, string> | null {
  const inputs = Array.from(form.elements).filter((element) => element instanceof HTMLInputElement);
  const found = inputs.flatMap((input) => {
    const mistake = mistakeOf(input) ?? own[input.name];
    return mistake ? [{ input, mistake }] : [];
  });
  found[0]?.input.focus();
  return found.length > 0 ? Object.fromEntries(found.map(({ input, mistake }) => [input.name, mistake])) : null;
}

/** What the browser finds, in words of ours. */
function mistakeOf({ validity }: HTMLInputElement): string | null {
  if (validity.valid) return null;
  if (validity.valueMissing) return "Please fill this in.";
  return validity.typeMismatch ? "This is no email address." : "This does not fit here.";
}

/** A form that is looked through by us, and sent by us. */
export const onSubmit = (send: (form: HTMLFormElement) => void) => ({
  noValidate: true,
  onSubmit: (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    send(event.currentTarget);
  },
});
