"use strict";

const wrong = document.getElementById("passkey-wrong");

function say(sentence) {
  wrong.textContent = sentence;
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

function offer(id, work) {
  const button = document.getElementById(id);
  if (!button || !window.PublicKeyCredential || !PublicKeyCredential.parseRequestOptionsFromJSON) return;
  button.hidden = false;
  button.addEventListener("click", () => work(button).catch((error) => say(error.message)));
}

offer("use-passkey", signIn);
offer("add-passkey", add);
