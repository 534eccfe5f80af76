import type { ReactNode } from "react";

import { logIn, register } from "../../api/session";
import type { RegistrationOptions } from "../../api/types";
import { useAttempt, type Attempt } from "../../api/use-attempt";
import { Button } from "../../ui/button";
import { Field, PasswordField } from "../../ui/field";
import { mistakesIn, onSubmit, valueOf } from "../../ui/form";
import { NewPasswordField } from "../../ui/new-password-field";
import { passwordLength } from "../../ui/password-hint";
import { useSecondsUntil } from "../../ui/use-seconds-until";
import styles from "./account-page.module.css";

export function LoginForm() {
  const { attempt, refuse, ...state } = useAttempt();
  const send = (form: HTMLFormElement) => {
    const mistakes = mistakesIn(form);
    if (mistakes) refuse(mistakes);
    else attempt(() => logIn(valueOf(form, "email"), valueOf(form, "password")));
  };
  return (
    <Form name="login" label="Log in" state={state} onSend={send}>
      <EmailField error={state.fields.email} data-testid="login-email" />
      <PasswordField
        label="Password"
        name="password"
        required
        autoComplete="current-password"
        error={state.fields.password}
        data-testid="login-password"
      />
    </Form>
  );
}

interface RegisterProps {
  options: RegistrationOptions;
  invitation: string | null;
  onRegistered: () => void;
}

export function RegisterForm({ options, invitation, onRegistered }: RegisterProps) {
  const { first, registration, password_min_length: least, password_advised_length: advised } = options;
  const byInvitation = !first && (registration === "invite" || invitation !== null);
  const { attempt, refuse, ...state } = useAttempt();
  const send = (form: HTMLFormElement) => {
    const [email, password, code] = ["email", "password", "invitation"].map((name) => valueOf(form, name)) as Three;
    const short = passwordLength(password) < least && `This needs at least ${least} characters.`;
    const mistakes = mistakesIn(form, { password: short });
    if (mistakes) refuse(mistakes);
    else
      attempt(
        () => register(email, password, code.trim() || null).then(onRegistered),
        ["email", "password", "invitation"],
      );
  };
  return (
    <Form name="register" label="Create account" state={state} onSend={send}>
      {byInvitation && (
        <Field
          label="Invitation"
          name="invitation"
          required
          maxLength={64}
          autoComplete="off"
          spellCheck={false}
          defaultValue={invitation ?? ""}
          hint={invitation ? "Filled in from your link." : "The code at the end of the link that you were sent."}
          error={state.fields.invitation}
          data-testid="register-invitation"
        />
      )}
      <EmailField error={state.fields.email} data-testid="register-email" />
      <NewPasswordField
        label="Password"
        name="password"
        least={least}
        advised={advised}
        error={state.fields.password}
        data-testid="register-password"
      />
    </Form>
  );
}

type Three = [string, string, string];

function EmailField(props: { error: string | undefined; "data-testid": string }) {
  return (
    <Field
      label="Email"
      name="email"
      type="email"
      required
      maxLength={254}
      autoComplete="username"
      autoCapitalize="none"
      autoFocus
      {...props}
    />
  );
}

interface FormProps {
  name: string;
  label: string;
  state: Attempt;
  onSend: (form: HTMLFormElement) => void;
  children: ReactNode;
}

function Form({ name, label, state: { busy, problem, retryAt }, onSend, children }: FormProps) {
  const seconds = useSecondsUntil(retryAt);
  const over = retryAt !== null && seconds === 0;
  return (
    <form className={styles.form} {...onSubmit(onSend)}>
      {children}
      <p role="alert" className={styles.problem} data-testid="account-problem">
        {over ? null : problem}
      </p>
      <Button type="submit" kind="primary" disabled={busy || seconds > 0} data-testid={`${name}-submit`}>
        {seconds > 0 ? `Possible again in ${seconds} s` : label}
      </Button>
    </form>
  );
}
