// Passkeys: asks the gateway for options, the browser for a credential, and hands that back.
"use strict";
(() => {
  const decode = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const encode = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const listed = (found) =>
    (found || []).map((one) => ({ type: one.type, id: decode(one.id) }));

  async function post(path, body) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.detail + (found.hint ? ": " + found.hint : ""));
    return found;
  }

  async function create(form, token) {
    const asked = (await post("/console/passkeys/register/begin", { form_token: token })).publicKey;
    const made = await navigator.credentials.create({
      publicKey: {
        ...asked,
        challenge: decode(asked.challenge),
        user: { ...asked.user, id: decode(asked.user.id) },
        excludeCredentials: listed(asked.excludeCredentials),
      },
    });
    return post("/console/passkeys/register/finish", {
      form_token: token,
      label: form.elements.label.value,
      credential: {
        id: made.id,
        rawId: encode(made.rawId),
        type: made.type,
        response: {
          clientDataJSON: encode(made.response.clientDataJSON),
          attestationObject: encode(made.response.attestationObject),
        },
      },
    });
  }

  async function signIn(form, token) {
    const asked = (await post("/console/passkeys/sign-in/begin", { form_token: token })).publicKey;
    const got = await navigator.credentials.get({
      publicKey: { ...asked, challenge: decode(asked.challenge) },
    });
    return post("/console/passkeys/sign-in/finish", {
      form_token: token,
      next: form.dataset.next,
      credential: {
        id: got.id,
        rawId: encode(got.rawId),
        type: got.type,
        response: {
          clientDataJSON: encode(got.response.clientDataJSON),
          authenticatorData: encode(got.response.authenticatorData),
          signature: encode(got.response.signature),
          userHandle: got.response.userHandle ? encode(got.response.userHandle) : null,
        },
      },
    });
  }

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = !window.PublicKeyCredential;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const told = form.querySelector("[role=alert]");
      told.hidden = true;
      try {
        const work = form.dataset.passkey === "create" ? create : signIn;
        const done = await work(form, form.elements.form_token.value);
        location.assign(done.next);
      } catch (error) {
        told.textContent = error.message;
        told.hidden = false;
      }
    });
  }
})();
