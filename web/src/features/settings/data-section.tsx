import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";

import { deleteAccount, exportAccount } from "../../api/account";
import { meQuery } from "../../api/me";
import { leave } from "../../api/session";
import { useAttempt } from "../../api/use-attempt";
import { announce } from "../../ui/announcer";
import { Button } from "../../ui/button";
import { Dialog, DialogButtons } from "../../ui/dialog";
import { Field, PasswordField } from "../../ui/field";
import { mistakesIn, onSubmit, valueOf } from "../../ui/form";
import { formatBytes } from "../../ui/format";
import { saveFile } from "../../ui/save-file";
import { Alert, Panel } from "../../ui/section-page";
import styles from "./settings.module.css";

export function DataSection() {
  return (
    <>
      <ExportPanel />
      <DeletePanel />
    </>
  );
}

function ExportPanel() {
  const { attempt, problem } = useAttempt();
  const [received, setReceived] = useState<number | null>(null);
  const abort = useRef<AbortController | null>(null);
  useEffect(() => () => abort.current?.abort(), []);
  const download = async () => {
    const controller = new AbortController();
    abort.current = controller;
    setReceived(0);
    try {
      const zip = await exportAccount(setReceived, controller.signal);
      saveFile(zip, `lorestream-${new Date().toISOString().slice(0, 10)}.zip`);
      announce("Your data is downloaded.");
    } catch (error) {
      if (!controller.signal.aborted) throw error;
    } finally {
      setReceived(null);
    }
  };
  return (
    <Panel
      title="Take it with you"
      about="One ZIP file: your documents as you uploaded them, your conversations as Markdown and JSON, and your account."
    >
      <Alert>{problem}</Alert>
      {received === null ? (
        <div>
          <Button icon="save" onClick={() => attempt(download)} data-testid="export">
            Export my data
          </Button>
        </div>
      ) : (
        <div className={styles.working}>
          <progress aria-label="Export" />
          <span>{received > 0 ? `${formatBytes(received)} so far` : "Putting it together…"}</span>
          <Button onClick={() => abort.current?.abort()}>Cancel</Button>
        </div>
      )}
    </Panel>
  );
}

function DeletePanel() {
  const [asking, setAsking] = useState(false);
  return (
    <Panel
      title="Delete your account"
      about="Your documents, conversations, keys and logins go with it, at once and for good. Nobody can bring them back."
    >
      <div>
        <Button kind="danger" icon="trash" onClick={() => setAsking(true)} data-testid="delete-account">
          Delete my account…
        </Button>
      </div>
      {asking && <DeleteDialog onClose={() => setAsking(false)} />}
    </Panel>
  );
}

function DeleteDialog({ onClose }: { onClose: () => void }) {
  const { data: me } = useQuery(meQuery);
  const { attempt, refuse, problem, fields, busy } = useAttempt();
  const remove = async (password: string) => {
    await deleteAccount(password);
    leave("Your account and everything in it is deleted.");
  };
  const send = (form: HTMLFormElement) => {
    const wrong = valueOf(form, "email").trim().toLowerCase() !== me?.email.toLowerCase();
    const mistakes = mistakesIn(form, { email: wrong && "This is not the email of your account." });
    if (mistakes) refuse(mistakes);
    else attempt(() => remove(valueOf(form, "password")), ["password"]);
  };
  return (
    <Dialog title="Delete your account?" onClose={onClose}>
      <p>Everything of yours will be gone. To go on, write your email, {me?.email}, and your password.</p>
      <form {...onSubmit(send)}>
        <Field
          label="Your email"
          name="email"
          type="email"
          required
          autoComplete="off"
          error={fields.email}
          data-testid="delete-email"
        />
        <PasswordField
          label="Your password"
          name="password"
          required
          autoComplete="current-password"
          error={fields.password}
          data-testid="delete-password"
        />
        <p role="alert">{problem}</p>
        <DialogButtons>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="danger" disabled={busy} data-testid="delete-confirm">
            Delete everything
          </Button>
        </DialogButtons>
      </form>
    </Dialog>
  );
}
