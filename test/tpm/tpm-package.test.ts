import { execFileSync } from 'node:child_process'
import { cp, mkdir, readdir, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { compile } from '../support/command.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const root = resolve(import.meta.dirname, '../..')

beforeAll(() => compile(), 60_000)

/** What a program prints that has leafkeeper installed beside some packages of this repository. */
async function printed(without: readonly string[], program: string): Promise<unknown> {
  const modules = join(await temporaryFolder(), 'node_modules')
  await mkdir(join(modules, 'leafkeeper'), { recursive: true })
  for (const part of ['package.json', 'dist'])
    await cp(join(root, part), join(modules, 'leafkeeper', part), { recursive: true })
  for (const name of await readdir(join(root, 'node_modules'))) {
    if (name === 'leafkeeper' || without.includes(name)) continue
    await symlink(join(root, 'node_modules', name), join(modules, name))
  }
  const args = ['--input-type=module', '--eval', program]
  return JSON.parse(execFileSync(process.execPath, args, { cwd: join(modules, '..'), encoding: 'utf8' }))
}

const opensTpm = `
  import { Tpm } from './node_modules/leafkeeper/dist/tpm/tpm.js'
  const outcome = await Tpm.open({}).then(() => ({ code: 'opened' }), ({ code, message }) => ({ code, message }))
  console.log(JSON.stringify(outcome))`

it('is not needed by who does not use a TPM', async () => {
  const program = `import * as leafkeeper from 'leafkeeper'; console.log(JSON.stringify(typeof leafkeeper.DeviceAgent))`
  expect(await printed(['azure-iot-security-tpm', 'tss.js'], program)).toBe('function')
})

it('is asked for by name, with the command that adds it', async () => {
  expect(await printed(['azure-iot-security-tpm'], opensTpm)).toMatchObject({
    code: 'TPM_PACKAGE_MISSING',
    message: expect.stringContaining('npm install azure-iot-security-tpm@1.9.3') as string,
  })
})

it('is found where it is installed', async () => {
  expect(await printed([], opensTpm)).toEqual({ code: 'opened' })
})
