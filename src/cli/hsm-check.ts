import { basename, resolve } from 'node:path'
import { askCapabilities, capabilityNames, type CapabilityAnswer } from '../conformance/capabilities.ts'
import { LeafkeeperError } from '../errors.ts'
import { keyTypeNames } from '../hsm/key-types.ts'
import { openToken } from '../hsm/open-token.ts'
import { loadProfile, type HsmProfile } from '../hsm/profile.ts'
import type { NamedSecretSource } from '../secret-source.ts'
import type { Report } from './report.ts'

/** Which token, and with which PIN. A PIN never stands on a command line. */
export interface HsmCheckOptions {
  /** Label of the token; where the module has one token only it may be left out. */
  readonly token?: string
  readonly pinFile?: string
  readonly pinEnv?: string
  /** Name or path of a profile. Default: one without quirks. */
  readonly profile?: string
}

/**
 * `leafkeeper hsm check`: what a token can do for leafkeeper, tried with key pairs that are destroyed again, and the
 * profile it was tried with.
 */
export async function hsmCheck(module: string, options: HsmCheckOptions): Promise<Report> {
  const { quirks } = options.profile === undefined ? { quirks: {} } : loadProfile(options.profile)
  const path = resolve(module)
  const { engine } = loadProfile('softhsm')
  const profile: HsmProfile = { name: basename(path).replace(/\.so.*$/, ''), module: [path], engine, quirks }
  const token = await openToken({
    module: profile,
    token: options.token === undefined ? {} : { label: options.token },
    pin: pinOf(options),
  })
  try {
    const answers = await askCapabilities(token)
    const { label, manufacturer, model } = token.description
    const pasted = { name: profile.name, module: profile.module, quirks }
    const able = keyTypeNames.filter((keyType) => canAll(answers, keyType))
    return {
      exit: able.length === 0 ? 'failed' : 'done',
      words:
        `Token "${label}" (${[manufacturer, model].filter((text) => text !== '').join(', ')}) of ${path}\n\n` +
        `${table(answers)}\n${reasons(answers)}` +
        `${able.length === 0 ? 'No type of key can do all that leafkeeper needs.' : `For leafkeeper: ${able.join(', ')}.`}\n` +
        `The keys of this trial were destroyed.\n\nThe profile it was tried with:\n${JSON.stringify(pasted, null, 2)}\n`,
      data: { token: token.description, answers, usable: able, profile: pasted },
    }
  } finally {
    await token.close()
  }
}

function pinOf({ pinFile, pinEnv }: HsmCheckOptions): NamedSecretSource {
  if (pinFile !== undefined && pinEnv === undefined) return { file: pinFile }
  if (pinEnv !== undefined && pinFile === undefined) return { env: pinEnv }
  throw new LeafkeeperError('HSM_PIN_MISSING', {
    message: 'Expected where the PIN is: either --pin-file FILE (its first line) or --pin-env NAME.',
  })
}

function canAll(answers: readonly CapabilityAnswer[], keyType: string): boolean {
  return answers.every((each) => each.keyType !== keyType || each.answer === 'yes')
}

function table(answers: readonly CapabilityAnswer[]): string {
  const row = (first: string, cells: readonly string[]): string =>
    `${first.padEnd(13)}${cells.map((cell) => cell.padEnd(10)).join('')}`.trimEnd()
  const cell = (keyType: string, capability: string): string => {
    const found = answers.find((each) => each.keyType === keyType && each.capability === capability)
    return found === undefined || found.answer === 'untried' ? '-' : found.answer
  }
  const lines = capabilityNames.map((name) =>
    row(
      name,
      keyTypeNames.map((keyType) => cell(keyType, name)),
    ),
  )
  return `${[row('', keyTypeNames), ...lines].join('\n')}\n`
}

function reasons(answers: readonly CapabilityAnswer[]): string {
  const lines = answers
    .filter(({ answer }) => answer === 'no')
    .map(
      ({ keyType, capability, code, message }) =>
        `${keyType}, ${capability}: ${code ?? ''}: ${message ?? ''}\n`,
    )
  return lines.length === 0 ? '' : `${lines.join('')}\n`
}
