import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { changePassword, accountOptionsQuery, endLogin, loginsQuery, logOutEverywhere } from "../../api/account";
import { messageOf } from "../../api/message";
import { leave } from "../../api/session";
import type { LoginView } from "../../api/types";
import { useAttempt } from "../../api/use-attempt";
import { announce } from "../../ui/announcer";
import { Button } from "../../ui/button";
import { ConfirmDialog } from "../../ui/confirm-dialog";
import { PasswordField } from "../../ui/field";
import { mistakesIn, onSubmit, valueOf } from "../../ui/form";
import { formatAgo, formatDay } from "../../ui/format";
import { NewPasswordField } from "../../ui/new-password-field";
import { passwordLength } from "../../ui/password-hint";
import { Badge, Row, Rows } from "../../ui/rows";
import { Alert, FormGrid, Panel } from "../../ui/section-page";
import { useSecondsUntil } from "../../ui/use-seconds-until";
import { deviceOf, placeOf } from "./device";

export function SecuritySection() {
  return (
    <>
      <PasswordPanel />
      <LoginsPanel />
    </>
  );
}

function PasswordPanel() {
  const { data: options } = useQuery(accountOptionsQuery);
  const client = useQueryClient();
  const { attempt, refuse, problem, fields, busy, retryAt } = useAttempt();
  const seconds = useSecondsUntil(retryAt);
  const least = options?.password_min_length ?? 8;
  const change = async (form: HTMLFormElement) => {
    await changePassword(valueOf(form, "current_password"), valueOf(form, "new_password"));
    form.reset();
    announce("Your password is changed. Every other login has ended.");
    await client.invalidateQueries({ queryKey: loginsQuery.queryKey });
  };
  const send = (form: HTMLFormElement) => {
    const short = passwordLength(valueOf(form, "new_password")) < least;
    const mistakes = mistakesIn(form, { new_password: short && `This needs at least ${least} characters.` });
    if (mistakes) refuse(mistakes);
    else attempt(() => change(form), ["current_password", "new_password"]);
  };
  return (
    <Panel title="Password" about="Changing it ends every other login of yours; this one stays.">
      <form {...onSubmit(send)}>
        <FormGrid>
          <PasswordField
            label="Current password"
            name="current_password"
            required
            autoComplete="current-password"
            error={fields.current_password}
            data-testid="current-password"
          />
          <NewPasswordField
            label="New password"
            name="new_password"
            least={least}
            advised={options?.password_advised_length ?? least}
            error={fields.new_password}
            data-testid="new-password"
          />
          <Button type="submit" kind="primary" disabled={busy || seconds > 0} data-testid="change-password">
            {seconds > 0 ? `Possible again in ${seconds} s` : "Change password"}
          </Button>
        </FormGrid>
        <Alert>{problem}</Alert>
      </form>
    </Panel>
  );
}

function LoginsPanel() {
  const { data: logins = [], error } = useQuery(loginsQuery);
  const client = useQueryClient();
  const { attempt, problem } = useAttempt();
  const [doomed, setDoomed] = useState<LoginView | "all" | null>(null);
  const end = async (login: LoginView) => {
    await endLogin(login.session_id);
    announce("That login has ended.");
    await client.invalidateQueries({ queryKey: loginsQuery.queryKey });
  };
  const endAll = async () => {
    await logOutEverywhere();
    leave("You are logged out everywhere.");
  };
  return (
    <Panel
      title="Where you are logged in"
      about="If you do not know one of these, end it and change your password."
      action={
        <Button icon="leave" onClick={() => setDoomed("all")} data-testid="logout-everywhere">
          Log out everywhere
        </Button>
      }
    >
      <Alert>{problem ?? (error && messageOf(error))}</Alert>
      <Rows label="Logins">
        {logins.map((login) => (
          <LoginRow key={login.session_id} login={login} onEnd={() => setDoomed(login)} />
        ))}
      </Rows>
      {doomed && (
        <ConfirmDialog
          title={doomed === "all" ? "Log out everywhere?" : "End this login?"}
          confirmLabel={doomed === "all" ? "Log out everywhere" : "End it"}
          keepLabel="Cancel"
          onConfirm={() => attempt(() => (doomed === "all" ? endAll() : end(doomed)))}
          onClose={() => setDoomed(null)}
        >
          {doomed === "all"
            ? "Every login of yours ends, this one too. Your API keys go on working."
            : `${deviceOf(doomed.user_agent).name} will have to log in again.`}
        </ConfirmDialog>
      )}
    </Panel>
  );
}

function LoginRow({ login, onEnd }: { login: LoginView; onEnd: () => void }) {
  const device = deviceOf(login.user_agent);
  return (
    <Row
      icon={device.icon}
      title={device.name}
      badges={login.current && <Badge kind="accent">This device</Badge>}
      actions={
        !login.current && (
          <Button onClick={onEnd} aria-label={`End the login of ${device.name}`} data-testid="end-login">
            End
          </Button>
        )
      }
      data-testid="login-row"
    >
      {placeOf(login.ip)} · used {formatAgo(login.last_used_at)} · logged in {formatDay(login.created_at)}
    </Row>
  );
}
