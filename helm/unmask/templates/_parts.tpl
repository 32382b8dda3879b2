{{- define "unmask.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select: (dict "root" $ "part" "worker"). */}}
{{- define "unmask.selects" -}}
app.kubernetes.io/name: unmask
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "unmask.labels" -}}
{{ include "unmask.selects" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{/* (dict "root" $ "image" .Values.image.worker) */}}
{{- define "unmask.image" -}}
{{- with .image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.root.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* What every pod has. Service links would put variables like UNMASK_CONSOLE_PORT=tcp://… among the settings. */}}
{{- define "unmask.pod" -}}
serviceAccountName: {{ default "default" .Values.serviceAccountName }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "unmask.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* Spread over nodes and zones: (dict "root" $ "part" "worker"). */}}
{{- define "unmask.spread" -}}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "unmask.selects" $ | nindent 8 }}
{{- end }}
{{- end -}}

{{- define "unmask.triton" -}}
{{- if .Values.triton.url }}{{ .Values.triton.url }}{{ else }}{{ include "unmask.name" . }}-triton:8001{{ end -}}
{{- end -}}

{{/* What every process needs: Kafka and the database. */}}
{{- define "unmask.env-least" -}}
{{- $v := .Values -}}
- {name: UNMASK_KAFKA_BOOTSTRAP_SERVERS, value: {{ required "kafka.bootstrapServers is empty" $v.kafka.bootstrapServers | quote }}}
- {name: UNMASK_KAFKA_SECURITY_PROTOCOL, value: {{ $v.kafka.securityProtocol | quote }}}
- {name: UNMASK_KAFKA_GROUP, value: {{ $v.kafka.group | quote }}}
- {name: UNMASK_KAFKA_PARTITIONS, value: {{ $v.kafka.partitions | quote }}}
- {name: UNMASK_KAFKA_REPLICATION, value: {{ $v.kafka.replication | quote }}}
{{- if hasPrefix "SASL" $v.kafka.securityProtocol }}
- {name: UNMASK_KAFKA_SASL_MECHANISM, value: {{ required "kafka.saslMechanism is empty" $v.kafka.saslMechanism | quote }}}
- name: UNMASK_KAFKA_SASL_USERNAME
  valueFrom: {secretKeyRef: {name: {{ required "kafka.existingSecret is empty" $v.kafka.existingSecret }}, key: username}}
- name: UNMASK_KAFKA_SASL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $v.kafka.existingSecret }}, key: password}}
{{- end }}
{{- if $v.kafka.existingTlsSecret }}
- {name: UNMASK_KAFKA_SSL_CAFILE, value: /etc/unmask/kafka/ca.crt}
{{- if $v.kafka.clientCertificate }}
- {name: UNMASK_KAFKA_SSL_CERTFILE, value: /etc/unmask/kafka/tls.crt}
- {name: UNMASK_KAFKA_SSL_KEYFILE, value: /etc/unmask/kafka/tls.key}
{{- end }}
{{- end }}
- name: UNMASK_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ required "database.existingSecret is empty" $v.database.existingSecret }}, key: url}}
{{- range $name, $value := $v.settings }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end -}}

{{- define "unmask.env" -}}
{{- $v := .Values -}}
{{ include "unmask.env-least" . }}
- {name: UNMASK_TRITON_URL, value: {{ include "unmask.triton" . | quote }}}
{{- with $v.objectStore.endpoint }}
- {name: UNMASK_S3_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with $v.objectStore.region }}
- {name: UNMASK_S3_REGION, value: {{ . | quote }}}
{{- end }}
{{- with $v.objectStore.existingSecret }}
- name: UNMASK_S3_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ . }}, key: access-key-id}}
- name: UNMASK_S3_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ . }}, key: secret-access-key}}
{{- end }}
{{- if $v.policy.file }}
- {name: UNMASK_POLICY_FILE, value: /etc/unmask/policy/policy.yaml}
{{- end }}
{{- if $v.policy.calibration }}
- {name: UNMASK_CALIBRATION_FILE, value: /etc/unmask/policy/calibration.json}
{{- end }}
{{- if $v.detectors }}
- {name: UNMASK_DETECTORS_FILE, value: /etc/unmask/detectors/detectors.yaml}
{{- end }}
{{- if $v.banksClaim }}
- {name: UNMASK_BANKS_DIR, value: /etc/unmask/banks}
{{- end }}
{{- end -}}

{{- define "unmask.mounts" -}}
- {name: home, mountPath: /var/lib/unmask}
- {name: tmp, mountPath: /tmp}
{{- if .Values.kafka.existingTlsSecret }}
- {name: kafka-tls, mountPath: /etc/unmask/kafka, readOnly: true}
{{- end }}
{{- end -}}

{{/* Whole folders: a file that is mounted by its path would never change. */}}
{{- define "unmask.config-mounts" -}}
{{- if or .Values.policy.file .Values.policy.calibration }}
- {name: policy, mountPath: /etc/unmask/policy, readOnly: true}
{{- end }}
{{- if .Values.detectors }}
- {name: detectors, mountPath: /etc/unmask/detectors, readOnly: true}
{{- end }}
{{- if .Values.banksClaim }}
- {name: banks, mountPath: /etc/unmask/banks, readOnly: true}
{{- end }}
{{- end -}}

{{- define "unmask.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- if .Values.kafka.existingTlsSecret }}
- name: kafka-tls
  secret: {secretName: {{ .Values.kafka.existingTlsSecret }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "unmask.config-volumes" -}}
{{- if or .Values.policy.file .Values.policy.calibration }}
- name: policy
  configMap: {name: {{ include "unmask.name" . }}-policy}
{{- end }}
{{- if .Values.detectors }}
- name: detectors
  configMap: {name: {{ include "unmask.name" . }}-detectors}
{{- end }}
{{- if .Values.banksClaim }}
- name: banks
  persistentVolumeClaim: {claimName: {{ .Values.banksClaim }}, readOnly: true}
{{- end }}
{{- end -}}

{{/* A job before a release: (dict "root" $ "part" "migrate" "weight" "0" "args" (list …)). Settings without files: what
the release brings is not there yet. */}}
{{- define "unmask.hook" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "unmask.name" .root }}-{{ .part }}
  labels: {{ include "unmask.labels" . | nindent 4 }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: {{ .weight | quote }}
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 600
  template:
    metadata:
      labels: {{ include "unmask.selects" . | nindent 8 }}
    spec:
      restartPolicy: Never
      {{- include "unmask.pod" .root | nindent 6 }}
      containers:
        - name: {{ .part }}
          image: {{ include "unmask.image" (dict "root" .root "image" .root.Values.image.worker) }}
          imagePullPolicy: {{ .root.Values.image.worker.pullPolicy }}
          args: {{ toYaml .args | nindent 12 }}
          {{- include "unmask.container" .root | nindent 10 }}
          env:
            {{- $bare := mergeOverwrite (deepCopy .root.Values) (dict "detectors" "" "banksClaim" "") }}
            {{- $_ := set $bare "policy" (dict "file" "" "calibration" "") }}
            {{- $plain := dict "Values" $bare "Release" .root.Release "Chart" .root.Chart "Template" .root.Template }}
            {{- include "unmask.env" $plain | nindent 12 }}
            {{- if .root.Values.policy.file }}
            - {name: UNMASK_POLICY_FILE, value: /etc/unmask/policy/policy.yaml}
            {{- end }}
          resources: {requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 1Gi}}
          volumeMounts:
            {{- include "unmask.mounts" .root | nindent 12 }}
            {{- if .root.Values.policy.file }}
            - {name: policy, mountPath: /etc/unmask/policy, readOnly: true}
            {{- end }}
      volumes:
        - name: home
          emptyDir: {sizeLimit: 1Gi}
        {{- include "unmask.volumes" .root | nindent 8 }}
        {{- if .root.Values.policy.file }}
        - name: policy
          configMap: {name: {{ include "unmask.name" .root }}-policy-before}
        {{- end }}
{{- end -}}
