import { useAttempt } from "../../api/use-attempt";
import { Button } from "../../ui/button";
import { Dialog, DialogButtons } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { mistakesIn, onSubmit, valueOf } from "../../ui/form";

interface Props {
  title: string;
  name: string;
  confirmLabel: string;
  onSave: (name: string) => Promise<unknown>;
  onClose: () => void;
}

/** Asks for the name of a collection; a name that is taken is said beside the field. */
export function NameDialog({ title, name, confirmLabel, onSave, onClose }: Props) {
  const { attempt, refuse, problem, fields, busy } = useAttempt();
  const send = (form: HTMLFormElement) => {
    const mistakes = mistakesIn(form);
    if (mistakes) refuse(mistakes);
    else attempt(() => onSave(valueOf(form, "name").trim()).then(onClose), ["name"]);
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form {...onSubmit(send)}>
        <Field
          label="Name"
          name="name"
          required
          maxLength={100}
          defaultValue={name}
          autoComplete="off"
          error={fields.name}
          data-testid="collection-name"
        />
        <p role="alert">{problem}</p>
        <DialogButtons>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" disabled={busy} data-testid="save-collection">
            {confirmLabel}
          </Button>
        </DialogButtons>
      </form>
    </Dialog>
  );
}
