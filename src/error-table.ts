/** One row of the error table: what a code means, whether trying again can help, and what a person does about it. */
interface ErrorRow {
  readonly retryable: boolean
  readonly meaning: string
  readonly cure: string
}

const fatal = (meaning: string, cure: string): ErrorRow => ({ retryable: false, meaning, cure })
const transient = (meaning: string, cure: string): ErrorRow => ({ retryable: true, meaning, cure })

/**
 * Every code a {@link LeafkeeperError} can carry. The table is the one source for messages, documentation
 * and the retry decision; codes are never reused for another meaning.
 */
export const errorTable = {
  // PKCS#11: module, token, PIN
  HSM_MODULE_NOT_FOUND: fatal(
    'The PKCS#11 module file does not exist.',
    'Install the module (Debian: apt-get install softhsm2) or correct the module path.',
  ),
  HSM_MODULE_FAILED: fatal(
    'The PKCS#11 module could not be loaded or initialised.',
    "Check the module's own configuration and architecture; pkcs11-tool --module FILE -I should work first.",
  ),
  HSM_TOKEN_NOT_FOUND: transient(
    'No token matches the label, serial number or URI.',
    'Insert or initialise the token, or correct the label; the message lists the tokens that are present.',
  ),
  HSM_TOKEN_AMBIGUOUS: fatal(
    'More than one token matches.',
    'Add the serial number to the token selection, so that exactly one token matches.',
  ),
  HSM_TOKEN_REMOVED: transient(
    'The token was removed or its session ended.',
    'Put the token back; leafkeeper opens a new session by itself.',
  ),
  HSM_TOKEN_FULL: fatal(
    'The token has no room for another object.',
    'Remove unused objects from the token; the active generation is untouched.',
  ),
  HSM_PIN_MISSING: fatal(
    'No PIN was found where the configuration says it is.',
    'Put the PIN into the named file, environment variable, credential or callback.',
  ),
  HSM_PIN_INCORRECT: fatal(
    'The token refused the PIN.',
    'Correct the PIN and start again; it is not tried a second time by itself, because tokens lock.',
  ),
  HSM_PIN_LOCKED: fatal(
    'The token has locked its user PIN.',
    'Unlock it with the security officer PIN (pkcs11-tool --init-pin), then start again.',
  ),
  HSM_KEY_NOT_FOUND: fatal(
    'The generation has no private key on the token.',
    'Check that the right token is present and that the PIN belongs to the user who owns the key.',
  ),
  HSM_KEY_EXISTS: fatal(
    'The generation already has a key pair of another type.',
    'Use the next generation number, or destroy this generation first.',
  ),
  HSM_KEY_TYPE_UNSUPPORTED: fatal(
    'The token cannot generate or use this type of key.',
    'Choose another keyType; the message lists what the token offers.',
  ),
  HSM_SESSIONS_EXHAUSTED: transient(
    'The token or the pool has no free session.',
    'Raise the session limit, or use fewer agents on this token.',
  ),
  HSM_DEVICE_ERROR: transient(
    'The token reported a failure of its own.',
    'It is tried again; if it stays, look at the token and its driver.',
  ),
  HSM_CLOSED: fatal('The HSM was used after it was closed.', 'Open it again before using it.'),
  HSM_URI_INVALID: fatal(
    'The text is not an RFC 7512 PKCS#11 URI.',
    'Write it like pkcs11:token=gateway;object=leaf;type=private.',
  ),
  // TPM
  TPM_PACKAGE_MISSING: fatal(
    'The package azure-iot-security-tpm, which TPM attestation needs, is not installed or cannot be loaded.',
    'Add it (npm install azure-iot-security-tpm@1.9.3); docs/tpm.md says how to do so without a compiler.',
  ),
  TPM_UNREACHABLE: transient(
    'The TPM cannot be reached.',
    'It is tried again; check that the device file or socket is there and that this user may open it.',
  ),
  TPM_TIMEOUT: transient('The TPM did not answer in time.', 'It is tried again; look at the TPM.'),
  TPM_DEVICE_ERROR: transient(
    'The TPM reported a failure, or answered with something that is not a response.',
    'It is tried again; if it stays, look at the TPM and at what else uses it.',
  ),
  TPM_KEY_MISSING: fatal(
    'The TPM holds no identity key of this device.',
    'It was cleared, or never registered: leafkeeper registers with DPS again, which gives it a new one.',
  ),
  TPM_ACTIVATION_FAILED: fatal(
    'The TPM did not take in the key that DPS sent for it.',
    "Check that the enrollment holds this TPM's endorsement key; something may have changed the answer of DPS.",
  ),
  TPM_CLOSED: fatal('The TPM was used after it was closed.', 'Open it again before using it.'),
  // TLS binding
  TLS_ENGINE_MISSING: fatal(
    'OpenSSL cannot load the pkcs11 engine.',
    'Install it (Debian: apt-get install libengine-pkcs11-openssl) or correct the engine folder.',
  ),
  TLS_ENGINE_OTHER_MODULE: fatal(
    'This process already uses another PKCS#11 module for TLS.',
    'OpenSSL loads one PKCS#11 module a process: run the other one in a process of its own.',
  ),
  TLS_KEY_UNUSABLE: fatal(
    'OpenSSL could not use the private key inside the HSM.',
    'Check that the key exists, belongs to the certificate, and that the session is logged in.',
  ),
  TLS_RESTART_NEEDED: fatal(
    'OpenSSL cannot reach the token any more in this process.',
    'Start the process again: the engine lists tokens and opens its sessions once a process.',
  ),
  TLS_SERVER_UNTRUSTED: transient(
    "The server's certificate is not trusted.",
    'Check the clock and the trusted authorities; something may stand between the device and the server.',
  ),
  // Certificates
  CERT_UNREADABLE: fatal(
    'What the issuer sent is not a certificate chain.',
    'The issuer must answer with PEM certificates, leaf first.',
  ),
  CERT_TOO_LARGE: fatal(
    'What the issuer sent is too large for a certificate chain.',
    'Check the issuer: it answers with something else, or with too many certificates.',
  ),
  CERT_KEY_MISMATCH: fatal(
    'The certificate is for another public key.',
    'The issuer must certify the key of the request it was given.',
  ),
  CERT_COMMON_NAME_CHANGED: fatal(
    'The certificate has another common name than the active one.',
    'The issuer must keep the common name: it is the registration id in DPS.',
  ),
  CERT_NOT_YET_VALID: transient(
    'The certificate is not valid yet.',
    'Check the clock of this device and of the issuer.',
  ),
  CERT_EXPIRED: fatal('The certificate has expired.', 'Ask for a new one; check the clock of this device.'),
  CERT_USAGE: fatal(
    'The certificate may not be used for TLS client authentication.',
    'The issuer must allow digitalSignature and clientAuth, and must not make the leaf a CA.',
  ),
  CERT_CHAIN_BROKEN: fatal(
    'The certificates do not form a chain.',
    'The issuer must send the leaf first, each certificate signed by the next.',
  ),
  CERT_NOT_NEW: fatal(
    'The issuer returned a certificate that is already in use.',
    'The issuer must issue a new certificate for a new request.',
  ),
  // Issuer
  ISSUER_UNAVAILABLE: transient('The issuer did not answer.', 'It is asked again; check the issuer.'),
  ISSUER_REFUSED: fatal('The issuer refused the request.', "See the issuer's reason in the message."),
  ISSUER_CREDENTIAL_MISSING: fatal(
    'What the issuer is shown first was not found where the configuration says it is, or cannot be used.',
    'Put the password into the named file, environment variable or callback; certificate and key as PEM into theirs.',
  ),
  // Network
  NETWORK_UNREACHABLE: transient(
    'The server cannot be reached, or the connection broke.',
    'It is tried again; check the network, name resolution and firewall (TCP 8883 for Azure).',
  ),
  NETWORK_TIMEOUT: transient('The server did not answer in time.', 'It is tried again; check the network.'),
  PROTOCOL_ERROR: transient(
    'The server answered with something that is not the protocol.',
    'It is tried again; something may stand between the device and the server.',
  ),
  // DPS
  DPS_UNAUTHORIZED: fatal(
    'DPS refused the registration.',
    'Check the enrollment: it must be enabled and hold this certificate or its authority.',
  ),
  DPS_KEY_MISSING: fatal(
    'No symmetric key for the registration was found where the configuration says it is.',
    'Put the key into the named file, environment variable, credential or callback, in Base64 as DPS shows it.',
  ),
  DPS_NOT_FOUND: fatal(
    'DPS does not know the id scope, the registration or its operation.',
    'Check the id scope and the enrollment.',
  ),
  DPS_REGISTRATION_FAILED: fatal(
    'DPS could not complete the registration.',
    'See the error code and message of DPS; check the linked hubs and the allocation policy.',
  ),
  DPS_DISABLED: fatal(
    'The enrollment is disabled.',
    'Enable the enrollment in DPS if this device is allowed.',
  ),
  DPS_THROTTLED: transient('DPS asked to slow down.', 'It is tried again after the time DPS named.'),
  DPS_UNAVAILABLE: transient('DPS reported a failure of its own.', 'It is tried again.'),
  DPS_REFUSED: fatal('DPS refused the request.', 'See the error code and message of DPS.'),
  // Hub
  HUB_UNAUTHORIZED: fatal(
    'The hub refused the credential.',
    'leafkeeper registers with DPS again; otherwise check that the device exists, is enabled and has this certificate.',
  ),
  HUB_UNAVAILABLE: transient('The hub reported a failure of its own.', 'It is tried again.'),
  HUB_REFUSED: fatal('The hub refused the connection.', 'See the reason in the message.'),
  HUB_CONNECTION_LOST: transient('The connection to the hub ended.', 'It is opened again by itself.'),
  TWIN_UNAVAILABLE: transient(
    'The device twin could not be read or written.',
    'It is tried again, and the connection serves without it. A hub of the basic tier has no twins: start with twin: false.',
  ),
  TWIN_INVALID: fatal(
    'A desired property of the device twin is not valid.',
    'Correct the property that the message names; what was wanted before stays.',
  ),
  // Outbox
  OUTBOX_FULL: transient(
    'The telemetry outbox is full.',
    'Wait for the drain event, or send less while the device is offline.',
  ),
  OUTBOX_CLOSED: fatal(
    'The agent was stopped before the hub acknowledged the message.',
    'Send it again after the next start if it still matters.',
  ),
  MESSAGE_INVALID: fatal(
    'The message cannot be sent.',
    'Keep it below 256 KiB and its properties below 8 KiB.',
  ),
  // Agent
  AGENT_CONFIG_INVALID: fatal('The configuration is not valid.', 'Correct the value the message names.'),
  AGENT_STATE_INVALID: fatal('This is not possible in the present state.', 'See the message for what is.'),
  AGENT_STOPPED: fatal('The agent is stopped.', 'Start a new agent.'),
  JOURNAL_DAMAGED: fatal(
    'The journal is damaged before its end.',
    'The command leafkeeper journal repair FOLDER keeps the damaged file and what can be read; at the next start the agent compares it with the token.',
  ),
  JOURNAL_UNREADABLE: fatal(
    'The journal cannot be read.',
    'Make the state folder a folder that this user can read and write.',
  ),
  JOURNAL_UNKNOWN_VERSION: fatal(
    'The journal was written by a newer version of leafkeeper.',
    'Install that version again, or move the file away: the agent then finds its identity on the token.',
  ),
  JOURNAL_OTHER_DEVICE: fatal(
    'The journal belongs to another device.',
    'Give each device its own state folder.',
  ),
  JOURNAL_UNWRITABLE: transient(
    'The journal cannot be written.',
    'Make room on the disk or make the state folder writable; the connection stays up meanwhile.',
  ),
  STATE_FOLDER_IN_USE: fatal(
    'Another process uses the state folder.',
    'Stop it, or give each agent a state folder of its own.',
  ),
} as const satisfies Record<string, ErrorRow>

/** The code of a {@link LeafkeeperError}: a key of the error table. */
export type ErrorCode = keyof typeof errorTable
