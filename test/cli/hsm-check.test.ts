import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compile, leafkeeper, type Ended } from '../support/command.ts'
import { createTestHsm } from '../support/softhsm.ts'

const hsm = createTestHsm()
const pinFile = join(hsm.folder, 'pin')
const wrongFile = join(hsm.folder, 'wrong')

beforeAll(async () => {
  compile()
  await writeFile(pinFile, hsm.pin.reveal(), { mode: 0o600 })
  await writeFile(wrongFile, 'not the pin', { mode: 0o600 })
}, 120_000)

afterAll(() => hsm.remove())

const check = (...args: string[]): Promise<Ended> =>
  leafkeeper(['hsm', 'check', hsm.module, '--token', hsm.label, ...args])

describe('leafkeeper hsm check', () => {
  it('prints what the token can do and a profile, within 80 columns, and leaves nothing on it', async () => {
    const before = hsm.pkcs11Tool('-O')
    const { exitCode, stdout, stderr } = await check('--pin-file', pinFile, '--profile', 'softhsm')
    expect(stderr).toBe('')
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^TLS 1\.3 +yes +yes +yes +yes$/m)
    expect(stdout).toContain('For leafkeeper: EC-P256, EC-P384, RSA-2048, RSA-3072.')
    expect(stdout).toContain('"generatesAlone": true')
    const table = stdout.slice(0, stdout.indexOf('The profile'))
    for (const line of table.split('\n').slice(1)) expect(line.length).toBeLessThanOrEqual(80)
    expect(hsm.pkcs11Tool('-O')).toBe(before)
  })

  it('gives the same as one line of JSON', async () => {
    const { exitCode, stdout } = await check('--pin-file', pinFile, '--profile', 'softhsm', '--json')
    expect(exitCode).toBe(0)
    const said = JSON.parse(stdout) as { usable: string[]; answers: unknown[] }
    expect(said.usable).toEqual(['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072'])
    expect(said.answers).toHaveLength(28)
  })

  it.each([
    ['no PIN is named', [], 'Expected where the PIN is'],
    ['two PINs are named', ['--pin-file', pinFile, '--pin-env', 'PIN'], 'Expected where the PIN is'],
    ['the PIN is refused', ['--pin-file', wrongFile], 'CKR_PIN_INCORRECT'],
    [
      'the profile is none',
      ['--pin-file', pinFile, '--profile', 'nobody'],
      'nobody.json is not an HSM profile',
    ],
  ])('fails where %s, and says what it wants', async (_, args, message) => {
    const { exitCode, stdout, stderr } = await check(...args)
    expect(exitCode).toBe(1)
    expect(stdout).toBe('')
    expect(stderr).toContain(message)
    expect(stderr).not.toContain('not the pin')
  })

  it('fails where there is no module', async () => {
    const { exitCode, stderr } = await leafkeeper(['hsm', 'check', '/nowhere.so', '--pin-file', pinFile])
    expect(exitCode).toBe(1)
    expect(stderr).toContain('/nowhere.so')
  })
})
