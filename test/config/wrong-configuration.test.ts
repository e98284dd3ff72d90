import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { configure, loadConfiguration, type LeafkeeperError } from 'leafkeeper'
import { checkConfiguration } from '../../src/config/check-configuration.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const minimal = {
  registrationId: 'gateway-7',
  stateFolder: 'state',
  hsm: { module: 'softhsm', pin: { env: 'TOKEN_PIN' } },
  provisioning: { idScope: '0ne00000A0A' },
}

/** The error that a configuration is refused with. */
function refusal(changes: object): string {
  try {
    checkConfiguration({ ...minimal, ...changes }, 'gateway.yaml', '/etc')
  } catch (error) {
    expect(error).toMatchObject({ code: 'AGENT_CONFIG_INVALID', retryable: false })
    return (error as Error).message
  }
  throw new Error('It was not refused.')
}

async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown as LeafkeeperError,
  )
  expect(error?.code).toBe('AGENT_CONFIG_INVALID')
  return error?.message ?? ''
}

const { hsm, provisioning } = minimal
const command = { kind: 'command', program: './issue.sh' }
const durationForm = 'a duration such as 30d, 12h, 10m, 90s or 500ms'

describe('a configuration is refused', () => {
  const rows: [changes: object, problem: string][] = [
    // Members
    [{ polcy: {} }, 'There is no polcy; did you mean policy?'],
    [{ hsm: { ...hsm, modul: 'x' } }, 'There is no hsm.modul; did you mean module?'],
    [{ hsm: { ...hsm, PIN: 'x' } }, 'There is no hsm.PIN; did you mean pin?'],
    [{ policy: { overlpa: '1d' } }, 'There is no policy.overlpa; did you mean overlap?'],
    [{ hub: { telemetry: 1 } }, 'There is no hub.telemetry; possible there: host, deviceId, productInfo.'],
    [{ 'a.b': 1 }, 'There is no ["a.b"]; possible there: registrationId, stateFolder, hsm,'],
    [{ registrationId: undefined }, 'Expected registrationId to be a text, got nothing.'],
    [{ hsm: { pin: hsm.pin } }, 'hsm.module is missing.'],
    [
      { hsm: null },
      'Expected hsm to be an object with members such as module, profile, environment, got nothing.',
    ],
    [
      { hsm: 'softhsm' },
      'Expected hsm to be an object with members such as module, profile, environment, got "softhsm".',
    ],
    [{ log: ['info'] }, 'There is a list at log[0], where members with names are expected.'],
    [
      { adopt: { key: 'pkcs11:object=k', certificate: 7 } },
      'Expected adopt.certificate to be an object with the member file, got 7.',
    ],
    // Values
    [{ registrationId: 7 }, 'Expected registrationId to be a text, got 7 without quotes.'],
    [{ registrationId: '' }, 'Expected registrationId to be a text that is not empty, got "".'],
    [
      { registrationId: 'über' },
      'Expected registrationId to be 1 to 64 characters of A-Z a-z 0-9 - . _ : that end in a letter, a digit or a dash, got "über".',
    ],
    [{ agentName: 'x'.repeat(100), keyType: 'x'.repeat(100) }, `got "${'x'.repeat(80)}…".`],
    [
      { keyType: 'EC-P521' },
      'Expected keyType to be one of EC-P256, EC-P384, RSA-2048, RSA-3072, got "EC-P521".',
    ],
    [{ twin: 'no' }, 'Expected twin to be true or false, got "no".'],
    [{ stateFolder: '' }, 'Expected stateFolder to be a path, got "".'],
    [{ stateFolder: 1 }, 'Expected stateFolder to be a path, got 1 without quotes.'],
    [{ hsm: { ...hsm, module: '' } }, 'Expected hsm.module to be a name or a path, got "".'],
    [
      { hsm: { ...hsm, maxSessions: 1.5 } },
      'Expected hsm.maxSessions to be a whole number of at least 1, got 1.5.',
    ],
    [
      { hsm: { ...hsm, maxSessions: '8' } },
      'Expected hsm.maxSessions to be a whole number of at least 1, got "8".',
    ],
    [
      { hsm: { ...hsm, environment: { SOFTHSM2_CONF: 1 } } },
      'Expected hsm.environment.SOFTHSM2_CONF to be a text, got 1 without quotes.',
    ],
    [{ hsm: { ...hsm, environment: [], token: 1 } }, 'Expected hsm.token to be an object'],
    [
      { hsm: { ...hsm, token: { serial: 123 } } },
      'Expected hsm.token.serial to be a text, got 123 without quotes.',
    ],
    [
      { provisioning: { ...provisioning, host: 'https://dps.example' } },
      'Expected provisioning.host to be a host name, with a port or without, got "https://dps.example".',
    ],
    [
      { network: { connectTo: { '*.azure-devices.net': 'localhost:70000' } } },
      'Expected network.connectTo["*.azure-devices.net"] to be a host name, with a port or without, got "localhost:70000".',
    ],
    [
      { network: { connectTimeout: '20' } },
      `Expected network.connectTimeout to be ${durationForm}, of at least 1ms, got "20".`,
    ],
    [
      { network: { connectTimeout: 20_000 } },
      `Expected network.connectTimeout to be ${durationForm}, of at least 1ms, got 20000 without quotes.`,
    ],
    [{ log: { level: 'trace' } }, 'Expected log.level to be one of debug, info, warn, error, got "trace".'],
    [{ metrics: { port: 70_000 } }, 'Expected metrics.port to be a whole number from 0 to 65535, got 70000.'],
    [
      { metrics: { file: 'metrics.txt' } },
      'Expected metrics.file to be a path that ends in .prom, got "metrics.txt".',
    ],
    [{ outbox: { capacity: 0 } }, 'Expected outbox.capacity to be a whole number of at least 1, got 0.'],
    // Policy
    [{ policy: { overlap: '2 days' } }, `Expected policy.overlap to be ${durationForm}, got "2 days".`],
    [
      { policy: { retry: { base: '0s' } } },
      `Expected policy.retry.base to be ${durationForm}, of at least 1ms, got "0s".`,
    ],
    [
      { policy: { retry: { cap: '500ms' } } },
      'Expected policy.retry.cap to be at least as long as base (1s), got 500ms.',
    ],
    [
      { policy: { lost: { base: '1h' } } },
      'Expected policy.lost.cap to be at least as long as base (1h), got 5m.',
    ],
    [
      { policy: { lost: { spread: '101%' } } },
      'Expected policy.lost.spread to be a percentage from 0% to 100%, got "101%".',
    ],
    [
      { policy: { lost: { spread: 0.5 } } },
      'Expected policy.lost.spread to be a percentage from 0% to 100%, got 0.5 without quotes.',
    ],
    [
      { policy: { schedule: 'sometimes' } },
      'Expected policy.schedule to be never, { at: 66% } or { before: 30d }, got "sometimes".',
    ],
    [{ policy: { schedule: {} } }, 'policy.schedule.at is missing.'],
    [
      { policy: { schedule: { at: '66' } } },
      'Expected policy.schedule.at to be a percentage from 0% to 100%, got "66".',
    ],
    [
      { policy: { schedule: { before: '30 d' } } },
      `Expected policy.schedule.before to be ${durationForm}, got "30 d".`,
    ],
    [
      { policy: { schedule: { at: '66%', before: '30d' } } },
      'There is no policy.schedule.at; possible there: before, jitter.',
    ],
    // Services
    [{ provisioning: undefined, hub: {} }, 'Expected provisioning to be an object'],
    [
      { hub: { host: 'hub-a.azure-devices.net' } },
      'Expected provisioning, or hub.host for a device that does not use DPS: one of both.',
    ],
    [
      { provisioning: { ...provisioning, onboarding: { key: 'x' } } },
      'provisioning.onboarding.symmetricKey is missing.',
    ],
    // Issuers
    [{ issuer: 'hub' }, 'Expected issuer to be an object with the member kind, got "hub".'],
    [
      { issuer: { kind: 'acme' } },
      'Expected issuer.kind to be one of command, dps, est, folder, hub, manual, got "acme".',
    ],
    [
      { issuer: { program: './issue.sh' } },
      'Expected issuer.kind to be one of command, dps, est, folder, hub, manual, got nothing.',
    ],
    [
      { issuer: { ...command, args: [] } },
      'There is no issuer.args; possible there: kind, program, arguments,',
    ],
    [
      { issuer: { ...command, arguments: ['--days', 30] } },
      'Expected issuer.arguments[1] to be a text, got 30 without quotes.',
    ],
    [
      { issuer: { ...command, arguments: '--days 30' } },
      'Expected issuer.arguments to be a list of texts, got "--days 30".',
    ],
    [
      { issuer: { ...command, timeout: '10m' } },
      `Expected issuer.timeout to be ${durationForm}, of at least 1ms and of at most 5m, got "10m".`,
    ],
    [{ issuer: { kind: 'hub', wait: '4m' } }, 'of at most 3m, got "4m".'],
    [{ issuer: { kind: 'folder' } }, 'issuer.folder is missing.'],
    [{ issuer: { bootstrap: command } }, 'issuer.roll is missing.'],
    [{ issuer: { bootstrap: command, roll: { kind: 'hbu' } } }, 'Expected issuer.roll.kind to be one of'],
  ]

  it.each(rows)('%j', (changes, problem) => {
    const message = refusal(changes)
    expect(message).toMatch(/^gateway\.yaml is not valid/)
    expect(message).toContain(problem)
  })

  it('with everything that is wrong in it', () => {
    expect(refusal({ hsm: { ...hsm, pin: 1234 }, policy: { overlap: '2 days' }, polcy: {} })).toBe(
      [
        'gateway.yaml is not valid in 3 places:',
        '- Expected hsm.pin to say where the secret is, as { file }, { env } or { credential }; what stands there is not shown, since it may be the secret itself.',
        `- Expected policy.overlap to be ${durationForm}, got "2 days".`,
        '- There is no polcy; did you mean policy?',
        'Correct the value the message names.',
      ].join('\n'),
    )
  })

  it.each([undefined, null, [], 'text', 7])('that is no object: %j', (value) => {
    expect(() => checkConfiguration(value, 'gateway.yaml', '/etc')).toThrow(/is not valid/)
  })
})

describe('what stands where a secret goes is never shown', () => {
  const secret = 'hunter2'
  const places: [string, (value: unknown) => object][] = [
    ['hsm.pin', (pin) => ({ hsm: { ...hsm, pin } })],
    [
      'provisioning.onboarding.symmetricKey',
      (symmetricKey) => ({ provisioning: { ...provisioning, onboarding: { symmetricKey } } }),
    ],
    [
      'issuer.bootstrap.basic.password',
      (password) => ({
        issuer: { kind: 'est', server: 'est.example', bootstrap: { basic: { user: 'u', password } } },
      }),
    ],
  ]
  const values: [string, unknown][] = [
    ['the secret itself', secret],
    ['the secret in a list', [secret]],
    ['a member of another name', { value: secret }],
    ['a secret as the name of a member', { [secret]: true }],
    ['a number where a path goes', { file: 4711 }],
    ['a list where a path goes', { file: [secret] }],
    ['the secret where an environment variable goes', { env: `${secret}!` }],
    ['the secret where a credential goes', { credential: `../${secret}` }],
    ['two sources', { file: 'pin', env: secret }],
  ]

  it.each(places.flatMap(([path, put]) => values.map(([what, value]) => [path, what, put(value)] as const)))(
    '%s: %s',
    (path, _what, changes) => {
      const message = refusal(changes)
      expect(message).toContain(path)
      expect(message).not.toContain(secret)
      expect(message).not.toContain('4711')
    },
  )

  it('nor a PIN in a URI', () => {
    const uri = `pkcs11:token=gateway?pin-value=${secret}`
    const message = refusal({ hsm: { ...hsm, token: { uri } }, adopt: { key: `pkcs12:?${secret}` } })
    expect(message).toContain(
      'Expected hsm.token.uri to be a PKCS#11 URI such as pkcs11:token=gateway, without a PIN.',
    )
    expect(message).toContain('Expected adopt.key to be a PKCS#11 URI')
    expect(message).not.toContain(secret)
  })

  it.each([
    ['gateway.json', `{ "hsm": { "pin": "${secret}" "module" } }`],
    ['gateway.json', `{ "hsm": { "pin": ${secret} } }`],
    ['gateway.yaml', `hsm:\n  pin: "${secret}\n`],
    ['gateway.yaml', `hsm: { pin: *${secret} }\n`],
    ['gateway.yaml', `hsm: { pin: !${secret} x }\n`],
    ['gateway.yaml', `pin: ${secret}\npin: ${secret}\n`],
    ['gateway.toml', `[hsm]\npin = ${secret}\n`],
    ['gateway.toml', `[hsm]\npin = "${secret}\n`],
  ])('in a file that cannot be read: %s with %j', async (name, text) => {
    const file = join(await temporaryFolder(), name)
    await writeFile(file, text)
    const message = await refusalOf(loadConfiguration(file))
    expect(message).toMatch(/gateway\.\w+ is not (JSON|YAML|TOML)/)
    expect(message).not.toContain(secret)
  })
})

describe('a file is refused', () => {
  it.each([
    [
      'gateway.json',
      '{\n  "registrationId": "gateway-7",\n}',
      'is not JSON, line 3, column 1: a comma, a quote or a bracket is missing or too many.',
    ],
    [
      'gateway.yaml',
      'registrationId: gateway-7\nregistrationId: gateway-8\n',
      'is not YAML, line 2, column 1: duplicate key.',
    ],
    [
      'gateway.toml',
      'registrationId = "gateway-7"\nregistrationId = "gateway-8"\n',
      'is not TOML, line 2, column 1: trying to redefine an already defined table or value.',
    ],
    ['gateway.ini', '', 'to end in one of .json, .yaml, .yml, .toml.'],
    ['gateway.yaml', '#'.repeat(1024 * 1024 + 1), 'has 1048577 bytes; a configuration has at most 1048576.'],
    [
      'gateway.yaml',
      '',
      'is not valid: Expected it to be an object with members such as registrationId, stateFolder, hsm, got nothing.',
    ],
  ])('%s', async (name, text, problem) => {
    const file = join(await temporaryFolder(), name)
    await writeFile(file, text)
    expect(await refusalOf(loadConfiguration(file))).toContain(problem)
  })

  it('that is not there, or is a folder', async () => {
    const folder = await temporaryFolder()
    expect(await refusalOf(loadConfiguration(join(folder, 'gateway.yaml')))).toContain('ENOENT')
    expect(await refusalOf(loadConfiguration(`${folder}/.././`))).toContain('to end in one of')
  })
})

describe('what can only be seen when options are made is refused too', () => {
  const rows: [changes: object, problem: string][] = [
    [
      { hsm: { ...hsm, module: 'softhms' } },
      'Expected hsm.module to be a path, or the name of a profile (nss-softokn, p11-kit-client, softhsm, tpm2-pkcs11), got "softhms".',
    ],
    [
      { hsm: { ...hsm, module: '/m.so', profile: 'nothing' } },
      'Expected hsm.profile to be a path, or the name of a profile',
    ],
    [{ hsm: { ...hsm, profile: './none.json' } }, 'is not an HSM profile'],
    [
      { network: { trustedAuthorities: { file: 'none.pem' } } },
      'Expected network.trustedAuthorities.file to be a PEM file that can be read (ENOENT',
    ],
    [
      { network: { trustedAuthorities: { file: 'empty.pem' } } },
      'Expected network.trustedAuthorities.file to hold PEM certificates;',
    ],
    [
      { issuer: { kind: 'dps' } },
      'Expected provisioning.onboarding, which an issuer of the kind dps registers with; it is missing.',
    ],
    [{ issuer: { kind: 'est', server: 'e', label: 'simpleenroll' } }, "Expected the EST issuer's label"],
    [
      { policy: { schedule: { at: '0%' } } },
      'Expected policy.schedule.at to lie between 0% and 100%, got "0%".',
    ],
    [
      { policy: { schedule: { at: '20%', jitter: '30%' } } },
      'Expected policy.schedule.jitter to be at most 20%, the part of the life it lies in, got "30%".',
    ],
    [
      { policy: { schedule: { before: '0d' } } },
      'Expected policy.schedule.before to be longer than nothing, got "0d".',
    ],
  ]

  it.each(rows)('%j', async (changes, problem) => {
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'empty.pem'), '')
    const configuration = { ...minimal, ...changes } as Parameters<typeof configure>[0]
    expect(await refusalOf(configure(configuration, folder))).toContain(problem)
  })
})
