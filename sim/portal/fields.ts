import { html, type Fragment, type Html } from './html.ts'

/** What every field has. */
interface Field {
  /** Unique on the page, as the form sends it. */
  readonly name: string
  readonly label: string
  /** What is to be said about it, below it. */
  readonly hint?: string
}

/** A line of text, with what stands in it. */
export function textField(
  field: Field & {
    readonly value?: string | undefined
    readonly required?: boolean
    readonly type?: 'text' | 'number' | 'datetime-local'
    /** What is often written here. */
    readonly suggestions?: readonly string[]
  },
): Html {
  const { name, value = '', required = false, type = 'text', suggestions = [] } = field
  const list = suggestions.length > 0 && html`list="${name}-list"`
  return labelled(
    field,
    html`<input
        id="${name}"
        name="${name}"
        type="${type}"
        ${type === 'number' && html`step="any"`}
        value="${value}"
        ${required && 'required'}
        ${list}
        ${described(field)}
        autocomplete="off"
        spellcheck="false"
      />
      ${
        suggestions.length > 0 &&
        html`<datalist id="${name}-list">
          ${suggestions.map((one) => html`<option value="${one}"></option>`)}
        </datalist>`
      }`,
  )
}

/** Several lines. */
export function textArea(field: Field & { readonly value?: string | undefined }): Html {
  const { name, value = '' } = field
  return labelled(
    field,
    html`<textarea id="${name}" name="${name}" rows="4" ${described(field)} spellcheck="false">
${value}</textarea>`,
  )
}

/** A file with a certificate. */
export function certificateField(field: Field & { readonly required?: boolean }): Html {
  const { name, required = false } = field
  return labelled(
    field,
    html`<input
      id="${name}"
      name="${name}"
      type="file"
      accept=".pem,.cer,.crt,.der"
      ${required && 'required'}
      ${described(field)}
    />`,
  )
}

/** One of several, by value and words. */
export function choice(
  field: Field & {
    readonly value: string
    readonly options: readonly (readonly [value: string, words: string])[]
  },
): Html {
  const { name, value, options } = field
  return labelled(
    field,
    html`<select id="${name}" name="${name}" ${described(field)}>
      ${options.map(
        ([one, words]) => html`<option value="${one}" ${one === value && 'selected'}>${words}</option>`,
      )}
    </select>`,
  )
}

/** One of a few that decide which other fields there are. */
export function radios(
  legend: string,
  name: string,
  value: string,
  options: readonly (readonly [value: string, words: string])[],
): Html {
  return html`<fieldset class="radios">
    <legend>${legend}</legend>
    ${options.map(
      ([one, words]) =>
        html`<label
          ><input type="radio" name="${name}" value="${one}" ${one === value && 'checked'} /> ${words}</label
        >`,
    )}
  </fieldset>`
}

/** A box to tick. */
export function tickBox(field: Field & { readonly ticked?: boolean }): Html {
  const { name, label, ticked = false } = field
  return html`<div class="field tick">
    <label
      ><input type="checkbox" name="${name}" value="yes" ${ticked && 'checked'} ${described(field)} />
      ${label}</label
    >
    ${hint(field)}
  </div>`
}

/** What goes along unseen. */
export function hidden(name: string, value: string): Html {
  return html`<input type="hidden" name="${name}" value="${value}" />`
}

/** Sends the form. @param id - where the part that it stands in is written again, so that it keeps the focus */
export function submit(words: string, kind: 'main' | 'plain' | 'danger' = 'main', id?: string): Html {
  return html`<button class="${kind}" ${id !== undefined && html`id="${id}"`}>${words}</button>`
}

function labelled(field: Field, input: Fragment): Html {
  return html`<div class="field">
    <label for="${field.name}">${field.label}</label>${input}${hint(field)}
  </div>`
}

function described({ name, hint: text }: Field): Fragment {
  return text !== undefined && html`aria-describedby="${name}-hint"`
}

function hint({ name, hint: text }: Field): Fragment {
  return text !== undefined && html`<p class="hint" id="${name}-hint">${text}</p>`
}
