import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import type { PinSource } from '../../src/hsm/pin-source.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import { Secret } from '../../src/secret.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { loginsOf } from '../support/spy-module.ts'

const hsm = createTestHsm()
const folder = join(hsm.folder, 'pins')
mkdirSync(folder)

const opened: HsmToken[] = []
async function open(pin: PinSource): Promise<HsmToken> {
  const token = await hsm.open({ pin })
  opened.push(token)
  return token
}

afterEach(async () => {
  for (const token of opened.splice(0)) await token.close()
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

afterAll(() => {
  hsm.remove()
})

function file(text: string): PinSource {
  const path = join(folder, randomBytes(4).toString('hex'))
  writeFileSync(path, text)
  return { file: path }
}

describe('a PIN is taken', () => {
  test.each([
    ['a file', (pin: string) => file(pin)],
    ['the first line of a file', (pin: string) => file(`${pin}\nsecond line\n`)],
    ['a file that ends as on Windows', (pin: string) => file(`${pin}\r\n`)],
    ['a callback', (pin: string) => ({ callback: () => Promise.resolve(new Secret(pin)) })],
    [
      'an environment variable',
      (pin: string) => {
        vi.stubEnv('TEST_PIN', pin)
        return { env: 'TEST_PIN' }
      },
    ],
    [
      'a credential of systemd',
      (pin: string) => {
        vi.stubEnv('CREDENTIALS_DIRECTORY', folder)
        writeFileSync(join(folder, 'token-pin'), `${pin}\n`)
        return { credential: 'token-pin' }
      },
    ],
  ])('from %s', async (_what, source) => {
    const token = await open(source(hsm.pin.reveal()))
    expect(await token.keyStore('device-1').list()).toEqual([])
  })
})

describe('HSM_PIN_MISSING says where it was looked for', () => {
  test.each<readonly [string, () => PinSource, string]>([
    ['a file that is not there', () => ({ file: '/does/not/exist' }), '/does/not/exist'],
    ['an empty file', () => file('\n'), 'is empty'],
    ['an environment variable that is not set', () => ({ env: 'NO_SUCH_PIN' }), 'NO_SUCH_PIN'],
    ['a credential without systemd', () => ({ credential: 'token-pin' }), 'CREDENTIALS_DIRECTORY is not set'],
    [
      'a credential that systemd does not have',
      () => {
        vi.stubEnv('CREDENTIALS_DIRECTORY', folder)
        return { credential: 'other-pin' }
      },
      'the credential other-pin could not be read',
    ],
    ...['../etc/passwd', '/etc/passwd', '..', ''].map(
      (credential) =>
        [
          `a credential by the name ${JSON.stringify(credential)}`,
          () => {
            vi.stubEnv('CREDENTIALS_DIRECTORY', folder)
            return { credential }
          },
          'is not the name of a credential',
        ] as const,
    ),
    ['a callback without an answer', () => ({ callback: () => new Secret('') }), 'callback'],
  ])('for %s', async (_what, source, said) => {
    await expect(open(source())).rejects.toMatchObject({
      code: 'HSM_PIN_MISSING',
      message: expect.stringContaining(said) as string,
    })
  })
})

describe('a wrong PIN', () => {
  test('is tried once, and then never again in this process', async () => {
    const logins = loginsOf(hsm.module)
    const wrong = { callback: () => new Secret('not-the-pin') }
    await expect(open(wrong)).rejects.toMatchObject({
      code: 'HSM_PIN_INCORRECT',
      reason: 'CKR_PIN_INCORRECT',
      retryable: false,
    })
    expect(logins()).toBe(1)
    await expect(open(wrong)).rejects.toMatchObject({ code: 'HSM_PIN_INCORRECT' })
    await expect(open({ callback: () => new Secret('not-the-pin') })).rejects.toThrow(/not tried again/)
    expect(logins()).toBe(1)
  })

  test('does not stand in the way of the right one', async () => {
    const logins = loginsOf(hsm.module)
    await expect(open({ callback: () => new Secret('another-wrong-pin') })).rejects.toThrow()
    await open({ callback: () => hsm.pin })
    expect(logins()).toBe(2)
  })

  test('of a second agent is not tried while the token is open', async () => {
    await open({ callback: () => hsm.pin })
    const logins = loginsOf(hsm.module)
    await expect(open({ callback: () => new Secret('third-wrong-pin') })).rejects.toMatchObject({
      code: 'HSM_PIN_INCORRECT',
    })
    expect(logins()).toBe(0)
  })

  test('is in no error', async () => {
    const error: unknown = await open({ callback: () => new Secret('secret-wrong-pin') }).catch(
      (e: unknown) => e,
    )
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('secret-wrong-pin')
    expect(String((error as Error).stack)).not.toContain('secret-wrong-pin')
  })
})
