"use strict";

const wrong = document.getElementById("passkey-wrong");

// what browsers say themselves is not for people (Web Authentication, sections 5.1.3 and 5.1.4)
const SENTENCES = {
  NotAllowedError: "No passkey was used. Try again, or sign in another way.",
  InvalidStateError: "This device has a passkey for you already.",
  SecurityError: "Passkeys do not work at this address; open the gateway by its usual name.",
};

function say(error) {
  wrong.textContent = SENTENCES[error.name] || error.message;
  wrong.hidden = false;
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error_description || "This did not work.");
  return found;
}

async function signIn(button) {
  const { options, state } = await post(button.dataset.prefix + "/signin/passkey/options", {});
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  const credential = await navigator.credentials.get({ publicKey });
  const body = { state, credential: credential.toJSON(), next: button.dataset.next };
  location.assign((await post(button.dataset.prefix + "/signin/passkey", body)).next);
}

async function add(button) {
  const { options, state } = await post(button.dataset.prefix + "/account/passkeys/options", {});
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  const credential = await navigator.credentials.create({ publicKey });
  await post(button.dataset.prefix + "/account/passkeys", { state, credential: credential.toJSON(), name: navigator.platform });
  location.reload();
}

// a passkey belongs to a name: at a bare address there is none
const named = !/^(\d+\.){3}\d+$|^\[/.test(location.hostname);

function offer(id, work) {
  const button = document.getElementById(id);
  if (!button || !named || !window.PublicKeyCredential || !PublicKeyCredential.parseRequestOptionsFromJSON) return;
  button.hidden = false;
  document.getElementById(id + "-not")?.remove();
  button.addEventListener("click", () => work(button).catch(say));
}

offer("use-passkey", signIn);
offer("add-passkey", add);
