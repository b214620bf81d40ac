// The approvers' pages: makes passkeys, signs in with them, and signs the answer to one call. Everything that is shown was put into the page by
// the gateway; what is signed is put together here, from what the page shows.
"use strict";

const main = document.querySelector("main");
const notice = document.getElementById("notice");
const shownAt = performance.now();

function say(text, bad) {
  notice.textContent = text;
  notice.className = bad ? "notice bad" : "notice";
  notice.hidden = !text;
}

function toText(buffer) {
  let binary = "";
  for (const byte of new Uint8Array(buffer)) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function toBytes(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

// SHA-256 of the type, a zero byte, and the payload with its members in order: RFC 8785 for texts in ASCII.
async function challenge(typ, payload) {
  const text = typ + "\0" + JSON.stringify(payload, Object.keys(payload).sort());
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}

async function sign(typ, payload, credential) {
  const made = await navigator.credentials.get({
    publicKey: {
      challenge: await challenge(typ, payload),
      rpId: main.dataset.rp,
      userVerification: "required",
      allowCredentials: credential ? [{ type: "public-key", id: toBytes(credential) }] : [],
    },
  });
  const statement = {
    typ,
    kid: main.dataset.kid || "",
    payload,
    authenticator_data: toText(made.response.authenticatorData),
    client_data: toText(made.response.clientDataJSON),
    signature: toText(made.response.signature),
  };
  return { credential: made.id, statement };
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    credentials: "same-origin",
  });
  if (answer.ok) return answer.status === 204 ? {} : answer.json();
  const problem = await answer.json().catch(() => ({}));
  const code = (problem.type || "").split("/").pop();
  throw new Error(main.dataset["problem" + answer.status] || main.dataset.failed, { cause: `${code}: ${problem.detail}` });
}

// Runs what a button does, once at a time.
function on(button, act) {
  button.addEventListener("click", async () => {
    const buttons = document.querySelectorAll("button");
    buttons.forEach((each) => (each.disabled = true));
    say(main.dataset.working);
    try {
      await act();
    } catch (error) {
      // The person went back, or the browser has no such passkey: both say it like this.
      const away = error.name === "NotAllowedError" || error.name === "AbortError";
      say(away ? main.dataset.cancelled : error.cause ? `${error.message} (${error.cause})` : main.dataset.failed, true);
      buttons.forEach((each) => (each.disabled = false));
    }
  });
}

async function signIn() {
  const { origin, ticket } = main.dataset;
  await post("/approve/sign-in", await sign("countersign-sign-in+passkey", { origin, ticket }));
  location.replace(location.href);
}

async function enrol() {
  const ticket = location.hash.slice(1);
  const { origin } = main.dataset;
  const { user, name, rp } = await post("/approve/enrol/begin", { ticket });
  const made = await navigator.credentials.create({
    publicKey: {
      challenge: await challenge("countersign-enrolment+passkey", { origin, ticket }),
      rp: { id: rp, name: "Countersign" },
      user: { id: toBytes(user), name, displayName: name },
      pubKeyCredParams: [{ type: "public-key", alg: -7 }, { type: "public-key", alg: -8 }],
      authenticatorSelection: { residentKey: "required", userVerification: "required" },
      attestation: "none",
    },
  });
  const registration = {
    authenticator_data: toText(made.response.getAuthenticatorData()),
    client_data: toText(made.response.clientDataJSON),
  };
  await post("/approve/enrol", { ticket, registration });
  history.replaceState(null, "", location.pathname + location.search);
  finish(main.dataset.done);
}

function finish(text) {
  document.querySelectorAll("button").forEach((button) => (button.hidden = true));
  document.querySelectorAll(".after").forEach((link) => (link.hidden = false));
  say(text);
  notice.focus();
}

async function answer(decision) {
  const { origin, call, digest, policies, shown, expires, sha256, credential, id } = main.dataset;
  const begun = new Date(shown);
  const answered = new Date(begun.getTime() + Math.max(0, performance.now() - shownAt));
  const payload = {
    origin,
    call,
    digest,
    decision,
    policies: policies ? policies.split(" ") : [],
    shown,
    answered: answered.toISOString().replace("Z", "000Z"),
    expires,
    shown_sha256: sha256,
  };
  const { statement } = await sign("countersign-approval+passkey", payload, credential);
  const taken = await post("/approve/" + encodeURIComponent(id), { statement });
  if (decision === "denied") finish(main.dataset.denied);
  else finish(taken.approvals < taken.needs ? main.dataset.more : main.dataset.approved);
}

const actions = {
  "sign-in": signIn,
  "sign-out": async () => {
    await post("/approve/sign-out", {});
    location.replace("/approve" + location.search);
  },
  enrol,
  approve: () => answer("approved"),
  deny: () => answer("denied"),
};

if (!window.PublicKeyCredential && document.querySelector("button[data-act]")) say(main.dataset.unable, true);
for (const button of document.querySelectorAll("button[data-act]")) on(button, actions[button.dataset.act]);
